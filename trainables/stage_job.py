"""One stage's job for a lane, and its parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from spaces.storage import guard_storage
from strategies import StageContext


class DivergedError(RuntimeError):
    """A configuration that led to weights that are not finite: a result, not a fault of the worker."""


@dataclass(frozen=True)
class WorkerSpec:
    """The model, benchmark and store that a worker serves."""

    model: str | Path
    """An embedded model's name, or a folder that all nodes see; likewise `benchmark`."""
    benchmark: str | Path
    store: Path
    threads: int = 1
    """Threads of each CPU rank; results are bit-identical at equal numbers."""
    gpus: float = 0.0
    """Share of a GPU that each rank holds; 0 = the ranks train on CPUs."""
    text_encoder: str = ""
    """The folder of a sentence encoder; empty = the language model's token embeddings."""
    features: FeatureCache | None = None
    """The cache of frozen vision features; None = each rank computes its own."""
    storage_id: str = ""
    """Content of the marker of the storage around `store`; empty = nobody asks for it."""

    def guard_storage(self) -> None:
        """Have this process write below the storage only while its marker is there."""
        if self.storage_id:
            guard_storage(self.store.parent, self.storage_id)


@dataclass(frozen=True)
class FeatureCache:
    """Features of the frozen vision tower, on disk."""

    root: Path
    model: str
    """Fingerprint of the model's folder."""
    tasks: Mapping[str, str]
    """Fingerprints of the tasks, by name."""


@dataclass(frozen=True)
class Fingerprints:
    """The inputs that all stages of a search share and that change their results."""

    model: str
    """Fingerprint of the model's folder."""
    tasks: Mapping[str, str]
    """Fingerprints of the tasks, by name."""
    seed: int
    workers: int
    text_encoder: str = ""
    """Fingerprint of the sentence encoder; empty = the language model's token embeddings."""


@dataclass(frozen=True)
class Expert:
    """Weights that answer for some tasks, and the tensors by which these tasks are retrieved."""

    key: str
    """Key of the weights."""
    tasks: tuple[str, ...]
    kept: tuple[str, ...]
    """Keys of the consolidated tensors, one a task."""


@dataclass(frozen=True)
class StageJob:
    """The parts of one stage that the store lacks: embeddings, weights, consolidated tensors, scores."""

    config: dict[str, Any]
    """`TrialConfig.to_dict()`."""
    key: str
    """Key of the trained weights."""
    base: str
    """Key of the model before any training, which has no weights in the store."""
    parent: str
    """Key of the weights that training starts from."""
    depth: int
    """Number of stages that made the weights, this one included; part of the stage's own seed."""
    context: StageContext
    """The tasks trained at this stage, none for the model before any stage, and those before."""
    seed: int = field(kw_only=True)
    """Seed of the adapters' initial values, and of every stage's own seed."""
    kept_before: tuple[str, ...] = ()
    """Keys of the consolidated tensors of the old tasks."""
    train: bool = False
    score: tuple[tuple[str, str, str], ...] = ()
    """(task, split, key) of the scores to be made."""
    general: tuple[str, ...] = ()
    """Tasks whose scores also hold the divergence of the answers from the untrained model's."""
    by_product: str = ""
    """Key of the by-products of training, which consolidation needs; empty if the strategy has none."""
    to_consolidate: tuple[tuple[str, str], ...] = ()
    """(task, key) of this stage's tasks whose consolidated tensors are to be made."""
    embed: tuple[tuple[str, str], ...] = ()
    """(task, key) of the task embeddings to be made."""
    experts: tuple[Expert, ...] = ()
    """All experts after this stage, where a strategy routes examples."""
    answered: tuple[tuple[str, str], ...] = ()
    """(task, key) of earlier scores among experts: answers of unchanged experts are copied from them."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks trained at this stage."""
        return self.context.new

    @property
    def empty(self) -> bool:
        """True if the store has everything already."""
        return not (self.train or self.score or self.to_consolidate or self.embed)


def in_order(experts: Sequence[Expert]) -> list[Expert]:
    """Return the experts in an order that does not depend on which was trained first."""
    return sorted(experts, key=lambda expert: expert.key)


class Runner(Protocol):
    """A maker of stages: a lane of Ray Train workers, or this very process."""

    def run(self, job: StageJob) -> Mapping[str, float]:
        """Make what `job` asks for; returns the seconds that each part took."""
        ...

    def ready(self) -> bool:
        """Start the runner if need be, without waiting; return True once it can begin a job."""
        ...
