"""What a strategy is: a dataclass whose fields are knobs, with a few hooks in the training loop."""

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
"""Trainable weights, gradients or importances by the parameter's name in the plain model."""

ExampleId = tuple[str, int]
"""One training example: its task and its row."""

Permutations = Callable[[str], Sequence[int]]
"""A permutation of a task's training rows that depends on the plan's seed and the task alone."""


@dataclass(frozen=True)
class StageContext:
    """Where a stage stands in its ordering: all that is known of it before anything is trained."""

    new: tuple[str, ...]
    """The tasks trained at this stage."""
    before: tuple[tuple[str, ...], ...] = ()
    """The tasks of each stage before; the initial tasks, where there are any, come first."""
    similarity: Mapping[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)
    """By modality: the similarity of the new task to each of `old`. Empty unless `needs_similarity`."""

    @property
    def old(self) -> tuple[str, ...]:
        """The tasks seen before, one after the other."""
        return tuple(task for group in self.before for task in group)


@dataclass(frozen=True)
class StartFrom:
    """Which weights a stage begins with."""

    task: str | None
    """Those that answer for this old task; None: those before any stage."""
    expert: bool = False
    """Whether what is trained stands beside them as an expert of its own, rather than in their place."""


@dataclass(frozen=True)
class Queries:
    """What an example is looked up by: frozen vectors, one row an example, zero where there is none."""

    image: torch.Tensor
    """(examples, width of the vision tower), of length 1."""
    instruction: torch.Tensor
    """(examples, width of the text encoder), of length 1."""


class Learner(Protocol):
    """What a strategy may ask of the loop, whatever the ZeRO stage and the number of ranks."""

    by_products: Tensors
    """The tensors of `Strategy.by_products`; none if the strategy has none or nothing was trained."""

    def gradients(
        self,
        picks: Sequence[ExampleId],
        batch_size: int,
        of: Callable[[Outputs], torch.Tensor] = Outputs.nll,
    ) -> Iterator[Tensors]:
        """The gradient of `of` per answer token, of one batch after the other; the same on every rank."""
        ...

    def outputs(self, picks: Sequence[ExampleId], batch_size: int) -> Iterator[Outputs]:
        """What the model says of one batch after the other, without gradients; the same on every rank."""
        ...

    def queries(self, task: str) -> Queries:
        """What the task's training examples are looked up by; of very many, of some spread over them."""
        ...

    def shuffled(self, task: str) -> Sequence[int]:
        """As `mix` is given it."""
        ...


@dataclass
class Strategy:
    """Base of all strategies: plain sequential instruction tuning, with nothing against forgetting.

    An instance lives for one stage. Fields are knobs; every other attribute is state of that stage,
    set by `prepare` and `mix` from what earlier stages kept.
    """

    name: ClassVar[str]
    is_reference: ClassVar[bool] = False
    """True for a run that marks a bound and is no answer to the problem, such as joint tuning."""
    needs_similarity: ClassVar[bool] = False
    """Whether it asks how similar tasks are (`StageContext.similarity`)."""
    rehearses: ClassVar[bool] = False
    """Whether old examples are among those that it trains on."""
    has_experts: ClassVar[bool] = False
    """Whether it holds several experts, of which `route` chooses one for each example."""
    has_by_products: ClassVar[bool] = False
    """True if `by_products` returns tensors that `consolidate` needs."""

    def __post_init__(self) -> None:
        checked_knobs(type(self), self.knobs(), self.name)

    @classmethod
    def example_knobs(cls) -> dict[str, Value]:
        """Return knobs with which it acts, and trains quickly, on tasks of 24 examples.

        Tests run with them; override it where the defaults have no effect on so few.
        """
        return {}

    @classmethod
    def off_knobs(cls) -> list[dict[str, Value]]:
        """Return each set of knobs that makes it equal finetune: by default one a knob with `off`."""
        knobs = knobs_of(cls).items()
        return [{name: knob.off} for name, knob in knobs if knob.off is not None]

    def knobs(self) -> dict[str, Value]:
        """The knobs of this configuration, by name."""
        return {name: getattr(self, name) for name in knobs_of(type(self))}

    def override_shared(self, training: Training, adapter: Adapter) -> tuple[Training, Adapter]:
        """The knobs that all strategies share, as this one uses them; doing it twice changes nothing."""
        return training, adapter

    # What names a stage ------------------------------------------------------------------------

    def warning(self, sizes: Mapping[str, int]) -> str:
        """What a user should know of these knobs on tasks of these training sizes; empty if nothing."""
        return ""

    def curriculum(self, ordering: Sequence[str]) -> tuple[tuple[str, ...], ...]:
        """The tasks trained at each stage of an ordering; one task a stage unless overridden."""
        return tuple((task,) for task in ordering)

    def begin(self, context: StageContext) -> StartFrom:
        """Which weights the stage begins with: those of the stage before, unless overridden."""
        return StartFrom(context.old[-1] if context.before else None)

    def effective(self, context: StageContext) -> dict[str, Value]:
        """The knobs that change the training of a stage that stands so; stages that agree are shared."""
        return {}

    def consolidation_knobs(self) -> dict[str, Value] | None:
        """The knobs that change what `consolidate` keeps; None if nothing is kept."""
        return None

    @property
    def kept_name(self) -> str:
        """What is kept, by name: strategies that keep the same share it."""
        return self.name

    def routing_knobs(self) -> dict[str, Value]:
        """The knobs that change which expert answers."""
        return {}

    # Hooks of the loop, in their order ---------------------------------------------------------

    def prepare(self, start: Tensors, kept: Sequence[Tensors], context: StageContext) -> None:
        """Before a stage: `start` are the weights it begins with, `kept` what was kept of each of `old`."""

    def mix(
        self, picks: list[ExampleId], old: Mapping[str, int], shuffled: Permutations
    ) -> list[ExampleId]:
        """Which examples are seen: `picks` are the new ones, `old` earlier tasks with their sizes."""
        return picks

    def replayed_per_batch(self, batch_size: int) -> int:
        """How many examples of each batch `replay_batch` fills in; the rest of it are those of `mix`."""
        return 0

    def replay_batch(self, step: int, count: int) -> list[ExampleId]:
        """Examples of earlier tasks that fill a batch up; steps count from 0."""
        return []

    def needs_teacher(self) -> bool:
        """Whether `distil` asks for what the model said at the stage's start; it costs a forward pass."""
        return False

    def distil(self, outputs: Outputs) -> torch.Tensor | None:
        """What is paid beside a micro-batch's loss for its outputs: a sum over its answers' tokens."""
        return None

    def memory_batch(self, step: int, batch_size: int) -> list[ExampleId]:
        """A batch of examples whose gradient `project` is to see; empty if none."""
        return []

    def project(self, gradient: Tensors, memory_gradient: Tensors) -> Tensors:
        """The gradient that is followed, given the batch's own and that of the examples `memory_batch`."""
        return gradient

    def has_penalty(self) -> bool:
        """Whether `penalty` returns anything in this stage; it costs a gathering of the weights."""
        return False

    def penalty(self, weights: Tensors) -> Tensors:
        """The gradient of what is paid for where the weights are, added before clipping and the step.

        A gradient rather than a loss term, so that ZeRO may keep weights and gradients in parts.
        """
        return {}

    def by_products(self, weights: Tensors) -> Tensors:
        """Return what training alone can tell, such as a path integral; `weights` are the trained ones.

        Called once, after the last step, on the instance that trained the stage. The tensors must be
        equal on every rank. They are stored beside the weights, for `consolidate`.
        """
        return {}

    def consolidate(self, learner: Learner, task: str, size: int) -> Tensors:
        """After a stage: what later stages need to remember one of its tasks, of `size` examples, by."""
        return {}

    def routing_tensors(self, kept: Tensors) -> Tensors:
        """What `route` looks at of what was kept of a task: the model has as many parameters more."""
        return kept if self.has_experts else {}

    def route(self, queries: Queries, kept: Sequence[Tensors], own: int | None) -> list[int]:
        """For each example the task whose expert answers, as an index into `kept`; `own` is the true one.

        None where the true one has no expert yet. Only a control may look at it.
        """
        raise NotImplementedError
