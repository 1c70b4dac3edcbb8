"""What a strategy is: a dataclass whose fields are knobs, with a few hooks in the training loop."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar, Protocol

import torch

from spaces.domains import Value, checked_knobs, knobs_of

Tensors = dict[str, torch.Tensor]
"""Trainable weights, gradients or importances by the parameter's name in the plain model."""

Pick = tuple[str, int]
"""One training example: its task and its row."""


class Learner(Protocol):
    """What a strategy may ask of the loop, whatever the ZeRO stage and the number of ranks."""

    def weights(self) -> Tensors:
        """The whole trainable weights, fp32, the same on every rank."""
        ...

    def gradients(self, picks: Sequence[Pick], batch_size: int) -> Iterator[Tensors]:
        """The gradient of the mean loss of one batch after the other, the same on every rank."""
        ...


@dataclasses.dataclass
class Strategy:
    """Base of all strategies: plain sequential instruction tuning, with nothing against forgetting.

    An instance lives for one stage. Fields are knobs; every other attribute is state of that stage,
    set by `prepare` from what earlier stages kept.
    """

    name: ClassVar[str]
    reference: ClassVar[bool] = False
    """True for a run that marks a bound and is no answer to the problem, such as joint tuning."""

    def __post_init__(self) -> None:
        checked_knobs(type(self), self.knobs(), self.name)

    @classmethod
    def defaults(cls) -> dict[str, Value]:
        """The published value of every knob."""
        return {name: knob.default for name, knob in knobs_of(cls).items()}

    def knobs(self) -> dict[str, Value]:
        """The knobs of this configuration, by name."""
        return {name: getattr(self, name) for name in knobs_of(type(self))}

    # What names a stage ------------------------------------------------------------------------

    def caution(self, sizes: Mapping[str, int]) -> str:
        """What a user should know of these knobs on tasks of these training sizes; empty if nothing."""
        return ""

    def curriculum(self, ordering: Sequence[str]) -> tuple[tuple[str, ...], ...]:
        """The tasks trained at each stage of an ordering; one task a stage unless overridden."""
        return tuple((task,) for task in ordering)

    def effective(self, stage: int) -> dict[str, Value]:
        """The knobs that change the training of `stage` (from 1); stages that agree are shared."""
        return {}

    def consolidation(self) -> dict[str, Value] | None:
        """The knobs that change what `consolidate` keeps; None if nothing is kept."""
        return None

    # Hooks of the loop -------------------------------------------------------------------------

    def prepare(self, start: Tensors, kept: Sequence[Tensors]) -> None:
        """Before a stage: `start` are the weights it begins with, `kept` what each stage before kept."""

    def mix(
        self,
        new: Mapping[str, int],
        old: Mapping[str, int],
        shuffled: Callable[[str], Sequence[int]],
    ) -> list[Pick]:
        """Which examples are seen: `new` and `old` are tasks with their numbers of examples.

        `shuffled(task)` is a permutation of that task's rows which depends on the plan's seed alone.
        """
        return [(task, row) for task, size in new.items() for row in range(size)]

    def penalty(self, weights: Tensors) -> Tensors:
        """The gradient of what is paid beside the task's loss, added before clipping and the step.

        A gradient rather than a loss term, so that ZeRO may keep weights and gradients in parts.
        """
        return {}

    def penalised(self) -> bool:
        """Whether `penalty` returns anything in this stage; it costs a gathering of the weights."""
        return False

    def consolidate(self, learner: Learner, new: Mapping[str, int]) -> Tensors:
        """After a stage: what later stages need to remember it by; `new` as in `mix`."""
        return {}
