"""Trials on the toy benchmark, trained in this process in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from models.location import model_fingerprint
from tasks import load_benchmark
from trainables.config import TrialConfig
from trainables.lanes.in_process import InProcessRunner
from trainables.panel import Panel
from trainables.stage_job import FeatureCache, Fingerprints, Runner, WorkerSpec
from trainables.store.stage_store import StageStore
from trainables.trial import PanelTrial

TRAINING = {
    **{"epochs": 4, "batch_size": 8, "micro_batch": 8, "learning_rate": 0.02},
    **{"precision": "fp32", "checkpointing": False},
}
ADAPTER = {"rank": 8}
"""Adapter knobs; with `TRAINING` a stage has twelve steps, enough to answer some examples."""


def config(strategy: str | Mapping[str, Any] = "finetune", **training: Any) -> TrialConfig:
    """Return a configuration with the toy's knobs, changed by `training`."""
    named = {"name": strategy} if isinstance(strategy, str) else dict(strategy)
    return TrialConfig.from_dict(
        {"strategy": named, "training": {**TRAINING, **training}, "adapter": ADAPTER}
    )


def adapted(base: TrialConfig, **knobs: Any) -> TrialConfig:
    """Return the configuration with other adapter knobs."""
    return replace(base, adapter=replace(base.adapter, **knobs))


FP32 = config().training.loading


@dataclass(frozen=True)
class Toy:
    """A benchmark and a model on disk."""

    benchmark: Path
    model: Path

    def fingerprints(self, seed: int = 0, workers: int = 1) -> Fingerprints:
        """Return the fingerprints that all stages share."""
        tasks = {n: t.fingerprint() for n, t in load_benchmark(self.benchmark).tasks.items()}
        return Fingerprints(model_fingerprint(self.model), tasks, seed, workers)

    def worker_spec(self, store: Path) -> WorkerSpec:
        """Return the model and benchmark that a worker serves, with its stages in `store`."""
        return WorkerSpec(self.model, self.benchmark, store)

    def feature_cache(self, root: Path) -> FeatureCache:
        """Return the on-disk cache of this model's frozen features."""
        fingerprints = self.fingerprints()
        return FeatureCache(root, fingerprints.model, fingerprints.tasks)

    def walk(
        self,
        chosen: TrialConfig,
        store: Path,
        *orderings: tuple[str, ...],
        runner: Runner | None = None,
    ) -> PanelTrial:
        """Return an untrained trial; it runs in this process unless a runner is given."""
        panel = Panel(orderings or (("hue", "light"),))
        runner = runner or InProcessRunner(self.worker_spec(store))
        return PanelTrial(chosen, panel, self.fingerprints(), StageStore(store), runner)


def walked(walk: PanelTrial) -> PanelTrial:
    """Train all stages of a trial, and return it."""
    while not walk.finished:
        walk.step()
    return walk


def blobs(walk: PanelTrial) -> list[str]:
    """Return the SHA-256 of each stage's weights, in the order of the stages."""
    records = [walk.store.get(stage.key) for stage in walk.stages]
    return [record.blob.sha256 for record in records if record and record.blob]
