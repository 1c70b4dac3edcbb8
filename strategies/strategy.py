"""Base class of strategies: a dataclass whose fields are knobs, with hooks in the training loop."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch

from spaces.adapter import Adapter
from spaces.domains import Value, checked_knobs, knobs_of
from spaces.training import Training
from strategies.outputs import Outputs

Tensors = dict[str, torch.Tensor]
"""Trainable weights, gradients or importances, by the parameter's name in the plain model."""

ExampleId = tuple[str, int]
"""One training example: its task and its row."""

Permutations = Callable[[str], Sequence[int]]
"""Permutations of tasks' training rows; each depends on the plan's seed and its task alone."""


@dataclass(frozen=True)
class StageContext:
    """Place of a stage in its ordering, known before anything is trained."""

    new: tuple[str, ...]
    """Tasks trained at this stage."""
    before: tuple[tuple[str, ...], ...] = ()
    """Tasks of each earlier stage; initial tasks, if any, come first."""
    similarity: Mapping[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)
    """Similarity of the new task to each of `old`, by modality; empty unless `needs_similarity`."""

    @property
    def old(self) -> tuple[str, ...]:
        """Tasks of all earlier stages, in one tuple."""
        return tuple(task for group in self.before for task in group)


@dataclass(frozen=True)
class StartFrom:
    """Weights that a stage begins with."""

    task: str | None
    """Old task whose weights these are; None for the weights before any stage."""
    expert: bool = False
    """True if the stage trains a new expert beside these weights, rather than in their place."""


@dataclass(frozen=True)
class Queries:
    """Vectors of the frozen encoders that examples are routed by, one row an example.

    A row is zero if the example has no image, or no instruction.
    """

    image: torch.Tensor
    """(examples, width of the vision tower), of length 1."""
    instruction: torch.Tensor
    """(examples, width of the text encoder), of length 1."""


class Learner(Protocol):
    """Access of `consolidate` to the model and data, for every ZeRO stage and number of ranks."""

    by_products: Tensors
    """Tensors of `Strategy.by_products`; none if the strategy has none or nothing was trained."""

    def gradients(
        self,
        picks: Sequence[ExampleId],
        batch_size: int,
        of: Callable[[Outputs], torch.Tensor] = Outputs.nll,
    ) -> Iterator[Tensors]:
        """Yield the gradient of `of` per answer token, batch after batch; the same on every rank."""
        ...

    def outputs(self, picks: Sequence[ExampleId], batch_size: int) -> Iterator[Outputs]:
        """Yield the outputs of batch after batch, without gradients; the same on every rank."""
        ...

    def queries(self, task: str) -> Queries:
        """Return the queries of the task's training examples, or of a spread sample if there are many."""
        ...

    def shuffled(self, task: str) -> Sequence[int]:
        """Return the same permutation of a task's rows that `mix` receives."""
        ...


@dataclass
class Strategy:
    """Plain sequential instruction tuning, the base of all strategies.

    Fields are knobs; every other attribute is state of one stage, set by `prepare` and `mix` from what
    earlier stages kept. `begin` and `effective` are called on the configuration's instance. The hooks
    from `prepare` to `by_products` share an instance made for the stage. `consolidate` and `route` each
    get a new one.
    """

    name: ClassVar[str]
    is_reference: ClassVar[bool] = False
    """True for a reference run that is never the answer, such as joint tuning."""
    needs_similarity: ClassVar[bool] = False
    """True if the strategy reads `StageContext.similarity`."""
    rehearses: ClassVar[bool] = False
    """True if the strategy trains on old examples again."""
    has_experts: ClassVar[bool] = False
    """True if the strategy holds several experts, among which `route` chooses for each example."""
    has_by_products: ClassVar[bool] = False
    """True if `by_products` returns tensors that `consolidate` needs."""

    def __post_init__(self) -> None:
        checked_knobs(type(self), self.knobs(), self.name)

    @classmethod
    def example_knobs(cls) -> dict[str, Value]:
        """Return knobs with which the strategy acts, and trains quickly, on tasks of 24 examples.

        Tests run with them; override this where the defaults have no effect on so few examples.
        """
        return {}

    @classmethod
    def off_knobs(cls) -> list[dict[str, Value]]:
        """Return the sets of knobs each of which makes the strategy equal finetune.

        By default one set for each knob that has an `off` value.
        """
        knobs = knobs_of(cls).items()
        return [{name: knob.off} for name, knob in knobs if knob.off is not None]

    def knobs(self) -> dict[str, Value]:
        """Return the knobs of this configuration by name."""
        return {name: getattr(self, name) for name in knobs_of(type(self))}

    def override_shared(self, training: Training, adapter: Adapter) -> tuple[Training, Adapter]:
        """Return the shared knobs as this strategy overrides them; idempotent."""
        return training, adapter

    def warning(self, sizes: Mapping[str, int]) -> str:
        """Return a warning about these knobs on tasks of these training sizes; empty if none."""
        return ""

    # Place and key of a stage -------------------------------------------------------------------

    def curriculum(self, ordering: Sequence[str]) -> tuple[tuple[str, ...], ...]:
        """Return the tasks trained at each stage of an ordering, by default one a stage."""
        return tuple((task,) for task in ordering)

    def begin(self, context: StageContext) -> StartFrom:
        """Return the weights that the stage begins with, by default those of the stage before."""
        return StartFrom(context.old[-1] if context.before else None)

    def effective(self, context: StageContext) -> dict[str, Value]:
        """Return the knobs that change the training of this stage.

        Trials whose stages agree in these knobs, and in all else of the key, share the trained stage.
        Return {} where the strategy does nothing.
        """
        return {}

    def consolidation_knobs(self) -> dict[str, Value] | None:
        """Return the knobs that change the result of `consolidate`; None if nothing is kept."""
        return None

    @property
    def kept_name(self) -> str:
        """Name of the kept tensors: strategies that keep the same share them."""
        return self.name

    def routing_knobs(self) -> dict[str, Value]:
        """Return the knobs that change what `route` chooses."""
        return {}

    # Hooks of the loop, in their order ---------------------------------------------------------

    def prepare(self, start: Tensors, kept: Sequence[Tensors], context: StageContext) -> None:
        """Prepare a stage from its start weights and from the tensors kept of each of `context.old`."""

    def mix(
        self, picks: list[ExampleId], old: Mapping[str, int], shuffled: Permutations
    ) -> list[ExampleId]:
        """Return the examples to train: `picks` are the new ones, `old` holds earlier tasks' sizes."""
        return picks

    def replayed_per_batch(self, batch_size: int) -> int:
        """Return the number of examples of each batch that `replay_batch` gives; `mix` gives the rest."""
        return 0

    def replay_batch(self, step: int, count: int) -> list[ExampleId]:
        """Return `count` examples of earlier tasks for a batch; steps count from 0."""
        return []

    def memory_batch(self, step: int, batch_size: int) -> list[ExampleId]:
        """Return the examples whose gradient `project` receives; empty if none."""
        return []

    def needs_teacher(self) -> bool:
        """Return True if `distil` reads the teacher's logits; they cost a forward pass."""
        return False

    def distil(self, outputs: Outputs) -> torch.Tensor | None:
        """Return a term to add to a micro-batch's loss, summed over answer tokens; None adds nothing."""
        return None

    def project(self, gradient: Tensors, memory_gradient: Tensors) -> Tensors:
        """Return the gradient to follow, given the batch's own and that of `memory_batch`."""
        return gradient

    def has_penalty(self) -> bool:
        """Return True if `penalty_gradient` acts in this stage.

        `penalty_gradient` needs all weights gathered, at every step.
        """
        return False

    def penalty_gradient(self, weights: Tensors) -> Tensors:
        """Return the gradient of a penalty on the weights, added before clipping and the step.

        It is a gradient rather than a loss term, so that ZeRO may keep weights and gradients in parts.
        """
        return {}

    def by_products(self, weights: Tensors) -> Tensors:
        """Return tensors that only training can give, such as a path integral.

        `weights` are the trained ones. It is called once, after the last step, on the instance that
        trained the stage. The tensors must be equal on every rank. They are stored beside the weights,
        for `consolidate`.
        """
        return {}

    def consolidate(self, learner: Learner, task: str, size: int) -> Tensors:
        """Return the tensors that later stages need of `task`, a task of this stage.

        `size` is the number of its training examples.

        It is always called on a new instance: it may read knobs and `learner`, but nothing that
        `prepare` or training set.
        """
        return {}

    def routing_tensors(self, kept: Tensors) -> Tensors:
        """Return the kept tensors that `route` reads; they count as parameters of the model."""
        return kept if self.has_experts else {}

    def route(self, queries: Queries, kept: Sequence[Tensors], true_task: int | None) -> list[int]:
        """Return for each example the task whose expert answers, as an index into `kept`.

        `true_task` is the task of these examples, likewise an index, or None if it has no expert yet. Only
        a control may read it.
        """
        raise NotImplementedError
