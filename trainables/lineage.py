"""Start weights of each stage, the weights used for scoring, and the store keys of both."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

from strategies import StageContext, StartFrom
from strategies.similarity import similarities
from trainables.config import TrialConfig
from trainables.panel import Panel, StagePath
from trainables.stage_job import Expert, Fingerprints
from trainables.store.stage_keys import (
    base_key,
    by_product_key,
    embedding_key,
    general_key,
    kept_key,
    routed_key,
    scored_key,
    trained_key,
)
from trainables.store.stage_store import StageStore


@dataclass(frozen=True)
class WeightsOwner:
    """Weights, named by the stage that trained them last, and the tasks that they answer for."""

    path: StagePath
    tasks: tuple[str, ...]


@dataclass
class Lineage:
    """The stages of one configuration: the start weights and the keys of each."""

    config: TrialConfig
    panel: Panel
    fingerprints: Fingerprints
    store: StageStore
    _owners: dict[StagePath, list[WeightsOwner]] = field(default_factory=dict)
    _contexts: dict[StagePath, StageContext] = field(default_factory=dict)
    _keys: dict[StagePath, str] = field(default_factory=dict)
    _kept: dict[StagePath, list[tuple[str, str]]] = field(default_factory=dict)
    _scored_tasks: dict[StagePath, list[str]] = field(default_factory=dict)
    _scored: dict[tuple[StagePath, str], str] = field(default_factory=dict)

    def context(self, path: StagePath) -> StageContext:
        """Return the context of a path's last stage; for the empty path, of training the initial tasks."""
        if path not in self._contexts:
            before = (self.panel.initial, *path[:-1]) if self.panel.initial else path[:-1]
            new, old = path[-1] if path else self.panel.first, before if path else ()
            similarity = {}
            if path and old and self.config.strategy.needs_similarity:
                embeddings = [
                    self.store.tensors(embedding_key(self.fingerprints, self.config, task))
                    for task in (new[0], *(task for group in old for task in group))
                ]
                similarity = similarities(embeddings[0], embeddings[1:])
            self._contexts[path] = StageContext(new, old, similarity)
        return self._contexts[path]

    def owners(self, path: StagePath) -> list[WeightsOwner]:
        """Return all weights that answer after a path; the last of them are from its last stage."""
        if not path:
            return [WeightsOwner((), self.panel.initial)]
        if path not in self._owners:
            start, before = self.start(path), self.owners(path[:-1])
            old = self._owner(start.task, before)
            if start.expert:
                owners = [*before, WeightsOwner(path, path[-1])]
            else:
                owners = [other for other in before if other is not old] + [
                    WeightsOwner(path, old.tasks + path[-1])
                ]
            self._owners[path] = owners
        return self._owners[path]

    def start(self, path: StagePath) -> StartFrom:
        """Return the start weights that the strategy names for a path's last stage."""
        return self.config.strategy.begin(self.context(path))

    def source(self, path: StagePath) -> StagePath:
        """Return the stage whose weights a path's last stage starts from."""
        return self._owner(self.start(path).task, self.owners(path[:-1])).path

    def _owner(self, task: str | None, known: list[WeightsOwner]) -> WeightsOwner:
        if task is None:
            return next((owner for owner in known if not owner.path), WeightsOwner((), ()))
        return next(owner for owner in known if task in owner.tasks)

    def depth(self, path: StagePath) -> int:
        """Return the number of stages that made the weights of a path's last stage, that one included."""
        return self.depth(self.source(path)) + 1 if path else 0

    # Keys --------------------------------------------------------------------------------------

    @functools.cached_property
    def base(self) -> str:
        """Key of the model before any training."""
        return base_key(self.fingerprints, self.config)

    def key(self, path: StagePath) -> str:
        """Return the key of a path's weights; for the empty path, of those before any stage."""
        if path not in self._keys:
            context, base = self.context(path), self.base
            parent = self.key(self.source(path)) if path else base
            depth, fingerprints = self.depth(path), self.fingerprints
            kept = tuple(self.kept_before(path).values())
            trained = trained_key(fingerprints, self.config, parent, context, depth, kept)
            self._keys[path] = trained if context.new else base
        return self._keys[path]

    def kept(self, path: StagePath) -> list[tuple[str, str]]:
        """Return (task, key) of the tensors that are consolidated after a path's last stage."""
        if path not in self._kept:
            tasks, trained = path[-1] if path else self.panel.initial, self.key(path)
            given, made = (self.fingerprints, self.config, trained), self.by_product(path)
            keys = {task: kept_key(*given, task, made) for task in tasks}
            self._kept[path] = [(task, key) for task, key in keys.items() if key]
        return self._kept[path]

    def by_product(self, path: StagePath) -> str | None:
        """Return the key of the by-products of training a path's last stage; None if there are none."""
        if self.key(path) == self.base:
            return None
        kept = tuple(self.kept_before(path).values())
        key, context = self.key(path), self.context(path)
        return by_product_key(self.fingerprints, self.config, key, context, kept)

    def kept_before(self, path: StagePath) -> dict[str, str]:
        """Return the keys of the tensors consolidated before a path's last stage, by task."""
        return dict(pair for i in range(len(path)) for pair in self.kept(path[:i]))

    def experts(self, path: StagePath) -> tuple[Expert, ...]:
        """Return the experts that examples are routed among after a path; none without routing."""
        if not self.config.strategy.has_experts or not (path or self.panel.initial):
            return ()
        kept = self.kept_before(path) | dict(self.kept(path))
        return tuple(
            Expert(self.key(owner.path), owner.tasks, tuple(kept[task] for task in owner.tasks))
            for owner in self.owners(path)
            if owner.tasks
        )

    def scored_tasks(self, path: StagePath) -> list[str]:
        """Return the tasks scored after a path."""
        if path not in self._scored_tasks:
            self._scored_tasks[path] = self.panel.scored_tasks(self.config, path)
        return self._scored_tasks[path]

    def scored(self, path: StagePath, task: str) -> str:
        """Return the key of a task's score after a path."""
        if (path, task) not in self._scored:
            self._scored[path, task] = self._scored_key(path, task)
        return self._scored[path, task]

    def _scored_key(self, path: StagePath, task: str) -> str:
        split, experts = self.panel.split, self.experts(path)
        if experts:
            key = routed_key(self.fingerprints, self.config, experts, task, split)
        else:
            key = scored_key(self.fingerprints, self.key(path), task, split)
        return general_key(key) if task in self.panel.general else key

    def embeddings(self) -> list[tuple[str, str]]:
        """Return (task, key) of the task embeddings that the strategy needs."""
        if not self.config.strategy.needs_similarity:
            return []
        tasks = dict.fromkeys([*self.panel.initial, *self.panel.tasks])
        return [(task, embedding_key(self.fingerprints, self.config, task)) for task in tasks]
