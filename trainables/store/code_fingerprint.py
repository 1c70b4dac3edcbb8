"""Fingerprints of the code that a stage's result comes from."""

from __future__ import annotations

import functools
import importlib.metadata
import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

from strategies import Composed, Strategy, strategy_class
from trainables.store.digest import digest

ROOT = Path(__file__).parents[2]
TRAINING_CODE = (
    *("trainables/rank/worker.py", "trainables/rank/loop.py", "trainables/rank/engine.py"),
    *("trainables/rank/evaluate.py", "trainables/rank/features.py"),
    *(
        "trainables/rank/data.py",
        "trainables/rank/batching.py",
        "trainables/rank/rank_context.py",
        "trainables/stage_job.py",
        "trainables/store/digest.py",
        "trainables/rank/teacher.py",
    ),
    *(
        "trainables/rank/task_embeddings.py",
        "trainables/rank/consolidation.py",
        "trainables/rank/routing.py",
    ),
    *("strategies/strategy.py", "strategies/outputs.py", "strategies/replay_memory.py"),
    *("strategies/similarity.py", "strategies/composed.py"),
    *("models/lmm.py", "models/batching.py", "models/family.py", "models/frozen.py"),
    *("models/frozen_blocks.py", "models/frozen_qformer.py", "models/loading.py"),
    *("models/frozen_parts.py", "models/frozen_tower.py"),
    *("models/parts.py", "models/processors.py", "models/text_encoder.py"),
    *("tasks/data/task.py", "tasks/data/rows.py", "tasks/scoring/answers.py"),
    *("tasks/scoring/answer_formats.py", "tasks/scoring/split_scores.py"),
    *sorted(
        f"tasks/scoring/metrics/{path.name}"
        for path in (ROOT / "tasks/scoring/metrics").glob("*.py")
    ),
)
TRAINING_LIBRARIES = ("torch", "transformers", "peft", "deepspeed", "tokenizers", "pillow")


def strategy_code(name: str) -> str:
    """Fingerprint of all code that a trial of this strategy comes from."""
    return digest(code_version(), strategy_source(strategy_class(name)))


@functools.cache
def code_version() -> str:
    """Fingerprint of the code that a stage's result comes from: the loop's files and libraries."""
    sources = [(name, (ROOT / name).read_text()) for name in TRAINING_CODE]
    return digest(sources, {name: importlib.metadata.version(name) for name in TRAINING_LIBRARIES})


@functools.cache
def strategy_source(strategy: type[Strategy]) -> list[str]:
    """The code of a strategy, of those it is made from, and of those it is made of."""
    classes = strategy.classes if issubclass(strategy, Composed) else (strategy,)
    return sorted(
        {source_of(base) for cls in classes for base in cls.__mro__ if base is not object}
    )


@functools.cache
def _module_source(module: ModuleType) -> str:
    return inspect.getsource(module)


def source_of(thing: Any) -> str:
    """The whole file that a class or function comes from."""
    return _module_source(_module(thing))


def _module(thing: Any) -> ModuleType:
    module = inspect.getmodule(thing)
    assert module is not None, f"{thing} comes from no file"
    return module
