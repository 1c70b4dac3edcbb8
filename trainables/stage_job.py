"""What a lane is asked to do for one stage, and the keys that name what stages make.

A key holds what has effect, not what was configured: trials that train a stage alike share it.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.metadata
import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from strategies import Composed, StageContext, Strategy, strategy_class
from trainables.config import TrialConfig

ROOT = Path(__file__).parent.parent
TRAINING_CODE = (
    *("trainables/rank/worker.py", "trainables/rank/loop.py", "trainables/rank/engine.py"),
    *("trainables/rank/evaluate.py", "trainables/rank/features.py"),
    *("trainables/rank/data.py", "trainables/stage_job.py", "trainables/rank/teacher.py"),
    *(
        "trainables/rank/task_embeddings.py",
        "trainables/rank/consolidation.py",
        "trainables/rank/routing.py",
    ),
    *("strategies/strategy.py", "strategies/outputs.py", "strategies/replay_memory.py"),
    *("strategies/similarity.py", "strategies/composed.py"),
    *("models/lmm.py", "models/batching.py", "models/family.py", "models/frozen.py"),
    *("models/frozen_blocks.py", "models/frozen_qformer.py", "models/loading.py"),
    *("models/parts.py", "models/processors.py", "models/text_encoder.py"),
    *("tasks/data/task.py", "tasks/data/rows.py", "tasks/scoring/answers.py"),
    *("tasks/scoring/answer_formats.py", "tasks/scoring/split_scores.py"),
    *sorted(
        f"tasks/scoring/metrics/{path.name}"
        for path in (ROOT / "tasks/scoring/metrics").glob("*.py")
    ),
)
TRAINING_LIBRARIES = ("torch", "transformers", "peft", "deepspeed", "tokenizers", "pillow")


DIVERGED = "diverged"
"""Kind of the record of a stage that diverged, so that no other trial finds out again."""


class DivergedError(RuntimeError):
    """A configuration led to weights that are not finite: a result, not a fault of the worker."""


@dataclass(frozen=True)
class WorkerSpec:
    """What a worker serves: the model, the benchmark, the store and the plan's seed."""

    model: str | Path
    """An embedded model's name, or a folder that all nodes see; likewise `benchmark`."""
    benchmark: str | Path
    store: Path
    seed: int
    threads: int = 1
    """Of each CPU rank; results are bit-identical at equal numbers."""
    gpus: float = 0.0
    """Share of a GPU that each rank holds; 0 = they train on CPUs."""
    text_encoder: str = ""
    """The folder of a sentence encoder; empty = the language model's token embeddings."""
    features: FeatureCache | None = None
    """Where what the frozen vision tower sees is kept; None = each rank looks for itself."""


@dataclass(frozen=True)
class FeatureCache:
    """What the frozen vision tower saw, on disk."""

    root: Path
    model: str
    """Fingerprint of the model's folder."""
    tasks: Mapping[str, str]
    """Fingerprints of the tasks, by name."""


@dataclass(frozen=True)
class Fingerprints:
    """What is the same for all stages of a search, and changes what they make."""

    model: str
    """Fingerprint of the model's folder."""
    tasks: Mapping[str, str]
    """Fingerprints of the tasks, by name."""
    seed: int
    workers: int
    text_encoder: str = ""
    """Fingerprint of the sentence encoder; empty = the language model's token embeddings."""

    def fixed(self) -> list[object]:
        """The part of every key that no trial changes."""
        return [self.model, self.seed, self.workers, code_version()]


@dataclass(frozen=True)
class Expert:
    """Weights that answer for some tasks, and what was kept of these to retrieve them by."""

    key: str
    """Of the weights."""
    tasks: tuple[str, ...]
    kept: tuple[str, ...]
    """Keys of what was kept of each task."""


@dataclass(frozen=True)
class StageJob:
    """One stage to be made: sign, train, keep, score, whatever of it is not in the store yet."""

    config: dict[str, Any]
    """`TrialConfig.to_dict()`."""
    key: str
    """Of the trained weights."""
    base: str
    """Key of the model before any training, which has no weights in the store."""
    parent: str
    """Key of the weights it starts from."""
    stage: int
    """How many stages made the weights, this one included: what its seed hangs on."""
    context: StageContext
    """The tasks trained at this stage, none for the model before any stage, and those before."""
    kept: tuple[str, ...] = ()
    """Keys of what was kept of each old task."""
    train: bool = False
    score: tuple[tuple[str, str, str], ...] = ()
    """(task, split, key) of the scores to be made."""
    keep: tuple[tuple[str, str], ...] = ()
    """(task, key) of what the strategy is to keep of this stage's tasks."""
    sign: tuple[tuple[str, str], ...] = ()
    """(task, key) of the signatures to be made."""
    experts: tuple[Expert, ...] = ()
    """Where a strategy routes examples: all experts after this stage."""
    answered: tuple[tuple[str, str], ...] = ()
    """(task, key) of earlier scores among experts: one that has not changed answers as it did."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks trained at this stage."""
        return self.context.new

    @property
    def empty(self) -> bool:
        """Whether the store has everything already."""
        return not (self.train or self.score or self.keep or self.sign)


def base_key(fingerprints: Fingerprints, config: TrialConfig) -> str:
    """Of the model before any stage: adapters begin as the identity, so only how it is held matters."""
    loading = dataclasses.asdict(config.training.loading)
    training = config.training
    return digest("base", *fingerprints.fixed(), loading, training.zero, training.longest)


def trained_key(
    fingerprints: Fingerprints,
    config: TrialConfig,
    parent: str,
    context: StageContext,
    stage: int,
    kept: Sequence[str] = (),
) -> str:
    """Of a stage's weights; `kept` are the keys of what was kept of the old tasks."""
    effective = config.strategy.effective(context)
    acting: list[object] = []
    if effective:
        # Experts of other tasks are no ancestors of these weights, and what was kept hangs on them.
        acting = [_identity(config), effective, _named(fingerprints, context.old), list(kept)]
        if config.strategy.needs_similarity:
            acting.append(fingerprints.text_encoder)
    return digest(
        "trained",
        *fingerprints.fixed(),
        parent,
        _named(fingerprints, context.new),
        stage,
        dataclasses.asdict(config.training),
        config.adapter.effective(),
        acting,
    )


def _named(fingerprints: Fingerprints, tasks: Sequence[str]) -> list[tuple[str, str]]:
    """Tasks by name, which seeds hang on, and contents."""
    return [(task, fingerprints.tasks[task]) for task in tasks]


def kept_key(
    fingerprints: Fingerprints, config: TrialConfig, trained: str, task: str
) -> str | None:
    """Of what the strategy keeps of one task after a stage; None if it keeps nothing."""
    knobs, strategy = config.strategy.consolidation_knobs(), config.strategy
    if knobs is None:
        return None
    # Strategies that inherit it, and keep the same, share it.
    composed = isinstance(strategy, Composed)
    source = _source(type(strategy)) if composed else _code(strategy.consolidate)
    encoder = fingerprints.text_encoder if strategy.has_experts else ""
    # The weights' key does not tell which parts of them were trained where nothing is trained.
    adapter = config.adapter.effective()
    return digest(
        "kept",
        trained,
        task,
        fingerprints.tasks[task],
        strategy.kept_name,
        source,
        knobs,
        encoder,
        adapter,
    )


def signature_key(fingerprints: Fingerprints, config: TrialConfig, task: str) -> str:
    """Of a task's mean vectors, which hang on how the model is held."""
    held = dataclasses.asdict(config.training.loading)
    data = (fingerprints.model, fingerprints.tasks[task], fingerprints.text_encoder)
    return digest("signature", *data, held, code_version())


def _identity(config: TrialConfig) -> dict[str, object]:
    """A strategy by name and code: where it acts, another version of it makes another stage."""
    return {"name": config.strategy.name, "code": _source(type(config.strategy))}


@functools.cache
def _source(strategy: type[Strategy]) -> list[str]:
    """The code of a strategy, of those it is made from, and of those it is made of."""
    classes = strategy.classes if issubclass(strategy, Composed) else (strategy,)
    return sorted({_code(base) for cls in classes for base in cls.__mro__ if base is not object})


@functools.cache
def _module_source(module: ModuleType) -> str:
    return inspect.getsource(module)


def _code(thing: Any) -> str:
    """The whole file that a class or function comes from."""
    return _module_source(_module(thing))


def _module(thing: Any) -> ModuleType:
    module = inspect.getmodule(thing)
    assert module is not None, f"{thing} comes from no file"
    return module


def scored_key(fingerprints: Fingerprints, trained: str, task: str, split: str) -> str:
    """Of a stage's score on one split of a task."""
    return digest("scored", trained, fingerprints.tasks[task], split)


def in_order(experts: Sequence[Expert]) -> list[Expert]:
    """The experts in an order that does not hang on which was trained first."""
    return sorted(experts, key=lambda expert: expert.key)


def routed_key(
    fingerprints: Fingerprints,
    config: TrialConfig,
    experts: Sequence[Expert],
    task: str,
    split: str,
) -> str:
    """Of a score of several experts, of which one answers each example."""
    known = [dataclasses.asdict(expert) for expert in in_order(experts)]
    strategy = config.strategy
    routing_knobs = [_source(type(strategy)), strategy.routing_knobs(), fingerprints.text_encoder]
    return digest("routed", known, routing_knobs, fingerprints.tasks[task], split)


def stage_seed(seed: int, tasks: Sequence[str], stage: int) -> int:
    """Seed of a stage's shuffling and dropout: of (plan seed, tasks, position) and nothing else.

    A stage's result thus depends on no trial, lane, moment or knob, and configurations are compared
    under common random numbers.
    """
    return int(digest("seed", seed, list(tasks), stage)[:12], 16)


def digest(*parts: object) -> str:
    """SHA-256 of the parts' canonical JSON, as 40 hex digits."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def strategy_code(name: str) -> str:
    """Fingerprint of all code that a trial of this strategy comes from."""
    return digest(code_version(), _source(strategy_class(name)))


@functools.cache
def code_version() -> str:
    """Fingerprint of the code that a stage's result comes from: the loop's files and libraries."""
    sources = [(name, (ROOT / name).read_text()) for name in TRAINING_CODE]
    return digest(sources, {name: importlib.metadata.version(name) for name in TRAINING_LIBRARIES})
