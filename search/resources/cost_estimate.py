"""What a search will take, from measured stages: hours and storage."""

from __future__ import annotations

import dataclasses
import functools
import multiprocessing
import resource
import statistics
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from models.memory_estimate import GPU
from search.plan.resolved_plan import ResolvedPlan
from search.results.formatting import format_duration
from spaces.errors import InputError
from trainables.config import TrialConfig
from trainables.panel import Panel, Prefix
from trainables.stage_job import Fingerprints, WorkerSpec
from trainables.store.stage_store import StageStore
from trainables.trial import PanelTrial

FLOOR, CEILING = "finetune", "joint"


@dataclass(frozen=True)
class Pace:
    """What plain tuning takes here, of the stages that the store has."""

    stages: int
    """That it was measured on."""
    trained: float
    """Seconds of training an example once."""
    scored: float
    """Seconds of scoring an example."""
    stored: float
    """Bytes of a stage: weights, and the record of its scores."""


@dataclass(frozen=True)
class Estimate:
    """Of a whole search, if every trial walks the whole panel and costs what plain tuning does."""

    seconds: float
    """Of all lanes together, on the clock of one."""
    scoring: float
    """Share of it."""
    stored: float
    """Bytes."""


class MeasuredStages:
    """The stages of plain tuning that the store has, of this very plan or of another that shares them."""

    def __init__(self, resolved: ResolvedPlan) -> None:
        self.resolved = resolved
        self.walk = resolved.new_trial(resolved.space.reference(FLOOR))
        self.sizes = {
            (task, split): len(resolved.benchmark.task(task).examples(split))
            for task in resolved.all_tasks
            for split in ("train", resolved.panel.split)
        }

    @functools.cached_property
    def pace(self) -> Pace | None:
        """None if nothing of it has been trained yet."""
        trained, scored, stored = [], [], []
        for path, record in self._stages():
            epochs = self.walk.config.training.epochs
            trained.append(record["seconds"] / (epochs * self._examples(path[-1])))
            scores = list(self._scores(path))
            scored += [s["seconds"] / len(s["predictions"]) for s in scores]
            stored.append(record["blob"]["bytes"] + sum(len(str(s)) for s in scores))
        if not trained or not scored:
            return None
        means = map(statistics.median, (trained, scored, stored))
        return Pace(len(trained), *means)

    def estimate(self) -> Estimate | None:
        """Of the stages that are still to be made; None where nothing was measured."""
        if self.pace is None:
            return None
        resolved, pace, paths = self.resolved, self.pace, self.walk.paths
        stages, split = resolved.most_stages(), resolved.panel.split
        each = statistics.fmean(self._examples(path[-1]) for path in paths)
        # Joint tuning is one stage on the examples of all tasks.
        joint = sum(not self.walk.store.has(key) for key in resolved.keys(CEILING))
        trained = (stages + joint * (len(resolved.panel.tasks) - 1)) * each
        cells = [resolved.panel.cells(self.walk.config, path) for path in paths]
        asked = sum(self.sizes[task, split] for row in cells for task in row) / len(paths)
        training = trained * self.walk.config.training.epochs * pace.trained
        scoring = stages * asked * pace.scored
        spent = training + scoring
        return Estimate(spent, scoring / spent if spent else 0.0, stages * pace.stored)

    def _stages(self) -> Iterator[tuple[Prefix, Mapping[str, Any]]]:
        for path in self.walk.paths:
            record = self.walk.store.get(self.walk.key(path))
            if record is not None and record.get("seconds"):
                yield path, record

    def _scores(self, path: Prefix) -> Iterator[Mapping[str, Any]]:
        for task in self.resolved.panel.cells(self.walk.config, path):
            record = self.walk.store.get(self.walk.lineage.scored(path, task))
            if record is not None and record.get("seconds"):
                yield record

    def _examples(self, tasks: tuple[str, ...]) -> int:
        return sum(self.sizes[task, "train"] for task in tasks)


def describe_estimate(resolved: ResolvedPlan, lanes: int) -> str:
    """The estimate in a line."""
    measured = MeasuredStages(resolved)
    found = measured.estimate()
    if found is None or measured.pace is None:
        return "unknown, for no stage of this plan was trained here yet; --measure trains the first"
    pace = measured.pace
    return (
        f"about {format_duration(found.seconds / lanes)} on {lanes} lanes, of which scoring "
        f"{found.scoring:.0%}, and {found.stored / 1e9:.2f} GB of stages, if no trial is stopped and each "
        f"costs what plain tuning does ({pace.trained * 1e3:.1f} ms an example trained, "
        f"{pace.scored * 1e3:.1f} ms scored; measured on {pace.stages} stages)"
    )


# Measuring ---------------------------------------------------------------------------------------


def measure(resolved: ResolvedPlan) -> int:
    """Train and score the first stage of plain tuning in a process of its own; its peak memory in bytes.

    The stage is one of the search's own, and goes into its store; one that is there is made once more.
    """
    if resolved.plan.workers_per_trial > 1:
        raise InputError(
            f"--measure trains one stage with one worker, got {resolved.plan.workers_per_trial}; a short "
            "search (--time-budget 300) measures several"
        )
    first = (resolved.panel.orderings[0][:1],)
    panel = dataclasses.replace(resolved.panel, orderings=first)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    job = (
        resolved.worker_spec,
        resolved.fingerprints,
        panel,
        resolved.space.reference(FLOOR).to_dict(),
    )
    process = context.Process(target=_first_stage, args=(theirs, *job))
    process.start()
    theirs.close()
    try:
        return int(ours.recv())
    except EOFError:
        raise InputError("the first stage must train, and failed: its error is above") from None
    finally:
        process.join()


def _first_stage(
    pipe: Any, worker_spec: WorkerSpec, fingerprints: Fingerprints, panel: Panel, config: Any
) -> None:
    from trainables.lanes.in_process import InProcessRunner

    chosen, there = TrialConfig.from_dict(config), StageStore(worker_spec.store)
    with tempfile.TemporaryDirectory() as other:
        walk = PanelTrial(chosen, panel, fingerprints, there, InProcessRunner(worker_spec))
        if there.has(walk.key(walk.paths[0])):
            aside = Path(other)
            runner = InProcessRunner(dataclasses.replace(worker_spec, store=aside))
            walk = PanelTrial(chosen, panel, fingerprints, StageStore(aside), runner)
        walk.step()
    if torch.cuda.is_available():
        pipe.send(torch.cuda.max_memory_reserved() + GPU.process)
    else:
        pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
