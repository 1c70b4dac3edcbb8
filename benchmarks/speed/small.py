"""The common subject of the benchmarks: the embedded model on a cut of the embedded benchmark."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
import yaml

from models.location import model_fingerprint, model_folder
from search.plan.presets import MINI_SPACE, MINI_TRAINING
from spaces.references import CEILING
from tasks import load_benchmark
from trainables.config import TrialConfig
from trainables.lanes.in_process import InProcessRunner
from trainables.metrics.score_matrix import ScoreMatrix
from trainables.panel import Panel
from trainables.stage_job import Fingerprints, Runner, WorkerSpec
from trainables.store.stage_store import StageStore
from trainables.trial import PanelTrial
from trainables.trial_record import TrialRecord

MODEL = "llava-aligned"
TASKS = ("animal", "flag_continent", "digit", "sign_meaning", "textile")


@dataclass(frozen=True)
class Small:
    """Five tasks with so many examples each; splits without a number are whole."""

    benchmark: Path
    fingerprints: Fingerprints

    def worker_spec(self, store: Path) -> WorkerSpec:
        """Return the spec of a worker with its stages in `store`."""
        gpus = float(torch.cuda.is_available())
        return WorkerSpec(MODEL, self.benchmark, store, gpus=gpus)

    def walk(
        self,
        config: TrialConfig,
        store: Path,
        orderings: Sequence[tuple[str, ...]],
        runner: Runner | None = None,
    ) -> PanelTrial:
        """Start a trial of a configuration, in this process unless a runner is given."""
        runner = runner or InProcessRunner(self.worker_spec(store))
        return PanelTrial(
            config, Panel(tuple(orderings)), self.fingerprints, StageStore(store), runner
        )


def small(folder: Path, train: int | None = None, validation: int | None = None) -> Small:
    """Cut the benchmark to the first rows of each split, in `folder`."""
    source = load_benchmark("mini")
    sizes = {"train": train, "validation": validation, "test": validation}
    kinds: dict[str, Any] = {}
    written: Mapping[str, Any] = yaml.safe_load(source.file.read_text())
    for name in TASKS:
        kinds[name] = {k: v for k, v in written["tasks"][name].items() if k != "path"}
        for split, count in sizes.items():
            (file,) = source.tasks[name].split_files(split)
            target = folder / name / f"{split}.parquet"
            target.parent.mkdir(parents=True, exist_ok=True)
            table = pq.read_table(file)
            pq.write_table(table.slice(0, count) if count else table, target)
    file = folder / "benchmark.yaml"
    file.write_text(yaml.safe_dump({"name": "small", "order": list(TASKS), "tasks": kinds}))
    tasks = {name: task.fingerprint() for name, task in load_benchmark(file).tasks.items()}
    model = model_fingerprint(model_folder(MODEL))
    return Small(file, Fingerprints(model=model, tasks=tasks, seed=0, workers=1))


def write_plan(file: Path, benchmark: Path, **own: Any) -> None:
    """Write a plan file for a search on the cut benchmark in which no trial is stopped."""
    same = {"extends": "default", "model": MODEL, "benchmark": str(benchmark)}
    plan = same | {"tasks": list(TASKS), "stopping": "none"} | own
    file.write_text(yaml.safe_dump(plan))


def config(strategy: str | Mapping[str, Any] = "finetune", **training: Any) -> TrialConfig:
    """Return a configuration of the embedded plans, with one epoch."""
    named = {"name": strategy} if isinstance(strategy, str) else dict(strategy)
    own = {
        knob.partition(".")[2]: value
        for knob, value in MINI_SPACE.items()
        if knob.startswith(f"{named['name']}.") and not isinstance(value, dict)
    }
    return TrialConfig.from_dict(
        {
            "strategy": own | named,
            "training": {**MINI_TRAINING, "epochs": 1, **training},
            "adapter": {"rank": 8},
        }
    )


def walked(walk: PanelTrial) -> PanelTrial:
    """Run a trial to its end."""
    while not walk.finished:
        walk.step()
    return walk


def one_thread() -> None:
    """Use as many threads as a lane; call it before torch is used."""
    import torch

    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)


def write_ceiling(run: Path, scores: Mapping[str, float]) -> None:
    """Write the record of a finished joint tuning, which is the scale of all trials."""
    matrix = ScoreMatrix.from_rows(tuple(scores), {len(scores): scores})
    config = {"strategy": {"name": CEILING}}
    TrialRecord(name=CEILING, state="finished", config=config, matrices=(matrix,)).write(run)
