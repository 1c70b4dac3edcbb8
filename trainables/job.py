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

from strategies import Strategy, strategy_class
from trainables.config import TrialConfig

ROOT = Path(__file__).parent.parent
TRAINING_CODE = (
    *("trainables/worker.py", "trainables/engine.py", "trainables/evaluate.py"),
    *("trainables/data.py", "trainables/job.py", "strategies/strategy.py"),
    *("models/lmm.py", "models/batching.py", "models/family.py", "models/frozen.py"),
    *("models/frozen_blocks.py", "models/loading.py", "models/parts.py", "models/processors.py"),
    *("tasks/task.py", "tasks/rows.py", "tasks/answers.py"),
    *("tasks/answer_formats.py", "tasks/marks.py"),
    *sorted(f"tasks/metrics/{path.name}" for path in (ROOT / "tasks/metrics").glob("*.py")),
)
TRAINING_LIBRARIES = ("torch", "transformers", "peft", "deepspeed", "tokenizers", "pillow")


class DivergedError(RuntimeError):
    """A configuration led to weights that are not finite: a result, not a fault of the worker."""


@dataclass(frozen=True)
class Place:
    """What a worker serves: the model, the benchmark, the store and the plan's seed."""

    model: str | Path
    """An embedded model's name, or a folder that all nodes see; likewise `benchmark`."""
    benchmark: str | Path
    store: Path
    seed: int
    threads: int = 1
    """Of each CPU rank; results are bit-identical at equal numbers."""


@dataclass(frozen=True)
class Setting:
    """What is the same for all stages of a search, and changes what they make."""

    model: str
    """Fingerprint of the model's folder."""
    tasks: Mapping[str, str]
    """Fingerprints of the tasks, by name."""
    seed: int
    workers: int

    def fixed(self) -> list[object]:
        """The part of every key that no trial changes."""
        return [self.model, self.seed, self.workers, code_version()]


@dataclass(frozen=True)
class StageJob:
    """One stage to be made: train, score, keep, whatever of it is not in the store yet."""

    config: dict[str, Any]
    """`TrialConfig.to_dict()`."""
    key: str
    """Of the trained weights; for the model before any stage, a key with no weights."""
    parent: str
    """Key of the weights it starts from."""
    tasks: tuple[str, ...]
    """The tasks trained at this stage; none for the model before any stage."""
    old: tuple[str, ...]
    """The tasks trained before, in their order."""
    stage: int
    kept: tuple[str, ...] = ()
    """Keys of what the stages before kept."""
    train: bool = False
    score: tuple[tuple[str, str, str], ...] = ()
    """(task, split, key) of the scores to be made."""
    keep: str | None = None
    """Key of what the strategy is to keep of this stage; None if nothing is to be made."""

    @property
    def empty(self) -> bool:
        """Whether the store has everything already."""
        return not (self.train or self.score or self.keep)


def base_key(setting: Setting, config: TrialConfig) -> str:
    """Of the model before any stage: adapters begin as the identity, so only how it is held matters."""
    loading = dataclasses.asdict(config.training.loading)
    training = config.training
    return digest("base", *setting.fixed(), loading, training.zero, training.longest)


def trained_key(
    setting: Setting, config: TrialConfig, parent: str, tasks: Sequence[str], stage: int
) -> str:
    """Of a stage's weights."""
    effective = config.strategy.effective(stage)
    return digest(
        "trained",
        *setting.fixed(),
        parent,
        [(task, setting.tasks[task]) for task in tasks],  # seeds hang on names, too
        stage,
        dataclasses.asdict(config.training),
        config.adapter.effective(),
        {**_identity(config), **effective} if effective else {},
    )


def kept_key(config: TrialConfig, trained: str) -> str | None:
    """Of what the strategy keeps of a stage; None if it keeps nothing."""
    knobs = config.strategy.consolidation()
    return None if knobs is None else digest("kept", trained, _identity(config), knobs)


def _identity(config: TrialConfig) -> dict[str, str]:
    """A strategy by name and code: where it acts, another version of it makes another stage."""
    source = inspect.getsource(_module(type(config.strategy)))
    return {"name": config.strategy.name, "code": digest(source)}


def _module(strategy: type[Strategy]) -> ModuleType:
    module = inspect.getmodule(strategy)
    assert module is not None, f"{strategy} comes from no file"
    return module


def scored_key(setting: Setting, trained: str, task: str, split: str) -> str:
    """Of a stage's score on one split of a task."""
    return digest("scored", trained, setting.tasks[task], split)


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
    return digest(code_version(), inspect.getsource(_module(strategy_class(name))))


@functools.cache
def code_version() -> str:
    """Fingerprint of the code that a stage's result comes from: the loop's files and libraries."""
    sources = [(name, (ROOT / name).read_text()) for name in TRAINING_CODE]
    return digest(sources, {name: importlib.metadata.version(name) for name in TRAINING_LIBRARIES})
