"""Composition of strategies: mixes chain, penalties add, and each keeps its own tensors."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch

from spaces.adapter import Adapter
from spaces.domains import Value, knobs_of
from spaces.errors import InputError
from spaces.training import Training
from strategies.outputs import Outputs
from strategies.strategy import (
    ExampleId,
    Learner,
    Permutations,
    Queries,
    StageContext,
    StartFrom,
    Strategy,
    Tensors,
)

PLUS = "+"
"""Separator in the names of compositions: replay+ewc."""


class Composed(Strategy):
    """Base class of compositions; its fields are those of its parts, called PART_KNOB."""

    classes: ClassVar[tuple[type[Strategy], ...]]

    def __post_init__(self) -> None:
        super().__post_init__()
        self.parts = [
            cls(**{knob: getattr(self, f"{cls.name}_{knob}") for knob in knobs_of(cls)})
            for cls in self.classes
        ]
        self._replayed: list[int] = []

    @classmethod
    def example_knobs(cls) -> dict[str, Value]:
        return prefixed({part.name: part.example_knobs() for part in cls.classes})

    @classmethod
    def off_knobs(cls) -> list[dict[str, Value]]:
        ways = {part.name: part.off_knobs() for part in cls.classes}
        return (
            [prefixed({name: way[0] for name, way in ways.items()})] if all(ways.values()) else []
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Return the parts' classes to pickle: the composition's own class is in no module."""
        return _recreate, (self.classes, self.knobs())

    def override_shared(self, training: Training, adapter: Adapter) -> tuple[Training, Adapter]:
        for part in self.parts:
            training, adapter = part.override_shared(training, adapter)
        return training, adapter

    def warning(self, sizes: Mapping[str, int]) -> str:
        return "; ".join(text for part in self.parts if (text := part.warning(sizes)))

    def curriculum(self, ordering: Sequence[str]) -> tuple[tuple[str, ...], ...]:
        own = (p for p in self.parts if type(p).curriculum is not Strategy.curriculum)
        return next(own, super()).curriculum(ordering)

    def begin(self, context: StageContext) -> StartFrom:
        return next((p for p in self.parts if p.has_experts), super()).begin(context)

    def effective(self, context: StageContext) -> dict[str, Value]:
        return prefixed({p.name: p.effective(context) for p in self.parts})

    def consolidation_knobs(self) -> dict[str, Value] | None:
        kept = {p.name: p.consolidation_knobs() for p in self.parts}
        known = {name: knobs for name, knobs in kept.items() if knobs is not None}
        return prefixed(known) if known else None

    def routing_knobs(self) -> dict[str, Value]:
        return prefixed({p.name: p.routing_knobs() for p in self.parts})

    def prepare(self, start: Tensors, kept: Sequence[Tensors], context: StageContext) -> None:
        for part in self.parts:
            part.prepare(start, self._kept(part, kept), context)

    def mix(
        self, picks: list[ExampleId], old: Mapping[str, int], shuffled: Permutations
    ) -> list[ExampleId]:
        for part in self.parts:
            picks = part.mix(picks, old, shuffled)
        return picks

    def replayed_per_batch(self, batch_size: int) -> int:
        self._replayed = [part.replayed_per_batch(batch_size) for part in self.parts]
        return sum(self._replayed)

    def replay_batch(self, step: int, count: int) -> list[ExampleId]:
        counts = zip(self.parts, self._replayed, strict=True)
        return [pick for part, own_count in counts for pick in part.replay_batch(step, own_count)]

    def needs_teacher(self) -> bool:
        return any(part.needs_teacher() for part in self.parts)

    def distil(self, outputs: Outputs) -> torch.Tensor | None:
        terms = [term for part in self.parts if (term := part.distil(outputs)) is not None]
        return torch.stack(terms).sum() if terms else None

    def memory_batch(self, step: int, batch_size: int) -> list[ExampleId]:
        batches = (part.memory_batch(step, batch_size) for part in self.parts)
        return next((picks for picks in batches if picks), [])

    def project(self, gradient: Tensors, memory_gradient: Tensors) -> Tensors:
        for part in self.parts:
            gradient = part.project(gradient, memory_gradient)
        return gradient

    def has_penalty(self) -> bool:
        return any(part.has_penalty() for part in self.parts)

    def penalty_gradient(self, weights: Tensors) -> Tensors:
        total: Tensors = {}
        for part in self.parts:
            for name, own in (part.penalty_gradient(weights) if part.has_penalty() else {}).items():
                total[name] = total[name] + own if name in total else own
        return total

    def by_products(self, weights: Tensors) -> Tensors:
        return {
            f"{part.name}/{name}": value
            for part in self.parts
            for name, value in part.by_products(weights).items()
        }

    def consolidate(self, learner: Learner, task: str, size: int) -> Tensors:
        keeping = [part for part in self.parts if part.consolidation_knobs() is not None]
        return {
            f"{part.name}/{name}": value
            for part in keeping
            for name, value in part.consolidate(_learner_of(part, learner), task, size).items()
        }

    def routing_tensors(self, kept: Tensors) -> Tensors:
        of_parts = [self._kept(part, [kept])[0] for part in self.parts if part.has_experts]
        return of_parts[0] if of_parts else {}

    def route(self, queries: Queries, kept: Sequence[Tensors], true_task: int | None) -> list[int]:
        part = next(part for part in self.parts if part.has_experts)
        return part.route(queries, self._kept(part, kept), true_task)

    def _kept(self, part: Strategy, kept: Sequence[Tensors]) -> Sequence[Tensors]:
        """Return the tensors that one part kept of each task; none if it keeps nothing."""
        return [] if part.consolidation_knobs() is None else KeptOfPart(f"{part.name}/", kept)


def prefixed(knobs: Mapping[str, Mapping[str, Value]]) -> dict[str, Value]:
    """Return the knobs of parts, by the part's name, under their names in the composition."""
    return {f"{part}_{k}": value for part, own in knobs.items() for k, value in own.items()}


class KeptOfPart(Sequence[Tensors]):
    """Tensors that one part kept of each task, read from the store on access."""

    def __init__(self, prefix: str, kept: Sequence[Tensors]) -> None:
        self._prefix, self._kept = prefix, kept

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, place: Any) -> Any:
        whole: Tensors = self._kept[place]
        own = {name: value for name, value in whole.items() if name.startswith(self._prefix)}
        return {name.removeprefix(self._prefix): value for name, value in own.items()}


def _learner_of(part: Strategy, learner: Learner) -> Learner:
    """Return the learner with the by-products of one part alone."""
    if not part.has_by_products:
        return learner
    own = copy.copy(learner)
    own.by_products = KeptOfPart(f"{part.name}/", [learner.by_products])[0]
    return own


@functools.cache
def compose(*classes: type[Strategy]) -> type[Composed]:
    """Return the composition of strategies; raises `InputError` if they cannot be joined."""
    name = PLUS.join(cls.name for cls in classes)
    if len(set(classes)) != len(classes):
        raise InputError(f'a composition must name different strategies, got "{name}"')
    references = [cls.name for cls in classes if _does_nothing(cls)]
    if references:
        raise InputError(
            f'a composition needs strategies that do something, got "{name}" with {", ".join(references)}'
        )
    rehearsing = [cls.name for cls in classes if cls.rehearses]
    if len(rehearsing) > 1:
        raise InputError(
            f"a composition may train old examples again in one way only, got {' and '.join(rehearsing)}; "
            "one of them would do"
        )
    fields: list[tuple[str, Any, Any]] = [
        (f"{cls.name}_{f.name}", f.type, dataclasses.field(default=f.default, metadata=f.metadata))
        for cls in classes
        for f in dataclasses.fields(cls)
        if "domain" in f.metadata
    ]
    namespace = {
        "name": name,
        "classes": classes,
        "needs_similarity": any(cls.needs_similarity for cls in classes),
        "rehearses": bool(rehearsing),
        "has_by_products": any(cls.has_by_products for cls in classes),
        "has_experts": any(cls.has_experts for cls in classes),
        "__doc__": f"{' and '.join(cls.name for cls in classes)} at once.",
        "__module__": __name__,
    }
    title = "And".join(cls.__name__ for cls in classes)
    return dataclasses.make_dataclass(title, fields, bases=(Composed,), namespace=namespace)


def _recreate(classes: tuple[type[Strategy], ...], knobs: Mapping[str, Value]) -> Composed:
    return compose(*classes)(**knobs)


def _does_nothing(cls: type[Strategy]) -> bool:
    """Return True for a reference run, to which nothing can be added."""
    return cls.is_reference or not knobs_of(cls)
