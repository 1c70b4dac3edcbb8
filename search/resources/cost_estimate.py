"""Estimate of a search's hours and storage, from measured stages."""

from __future__ import annotations

import dataclasses
import functools
import multiprocessing
import resource
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from models.memory_estimate import GPU
from search.plan.resolved_plan import ResolvedPlan
from search.resources.stage_counts import count_stages, reference_keys
from search.results.formatting import format_duration
from search.tuning.prior_run import PriorRun
from spaces.errors import InputError
from spaces.references import CEILING
from trainables.config import TrialConfig
from trainables.panel import Panel, StagePath
from trainables.stage_job import Fingerprints, WorkerSpec
from trainables.store.records import ScoreRecord, TrainedRecord
from trainables.store.stage_store import StageStore
from trainables.trial import PanelTrial


@dataclass(frozen=True)
class StageCost:
    """Cost of plain tuning on this machine: medians over the stages in the store."""

    stages: int
    """Stages measured."""
    train_seconds: float
    """Seconds to train one example once."""
    score_seconds: float
    """Seconds to score one example."""
    stored_bytes: float
    """Bytes of a stage: its weights and the records of its scores."""


@dataclass(frozen=True)
class Estimate:
    """Cost of a whole search if no trial is stopped and each costs what plain tuning does."""

    seconds: float
    """Seconds of all lanes together, on the clock of one."""
    scoring_share: float
    """Share of the seconds that goes into scoring."""
    stored_bytes: float


class MeasuredStages:
    """Stages of plain tuning in the store, trained by this search or by one that shares them."""

    def __init__(self, resolved: ResolvedPlan) -> None:
        self.resolved = resolved
        self.trial = resolved.new_trial(resolved.finetune)
        self.sizes = {
            (task, split): len(resolved.benchmark.task(task).examples(split))
            for task in resolved.panel.all_tasks
            for split in ("train", resolved.panel.split)
        }

    @functools.cached_property
    def cost(self) -> StageCost | None:
        """Measured cost of a stage; None if none of them has been trained yet."""
        train_seconds, score_seconds, stored_bytes = [], [], []
        for path, record in self._stages():
            epochs = self.trial.config.training.epochs
            train_seconds.append(record.seconds / (epochs * self._examples(path[-1])))
            scores = list(self._scores(path))
            score_seconds += [s.seconds / len(s.predictions) for s in scores]
            weights = record.blob.bytes if record.blob else 0
            stored_bytes.append(weights + sum(len(s.to_json()) for s in scores))
        if not train_seconds or not score_seconds:
            return None
        medians = map(statistics.median, (train_seconds, score_seconds, stored_bytes))
        return StageCost(len(train_seconds), *medians)

    def estimate(self, stages: int) -> Estimate | None:
        """Estimate the cost of training `stages` stages; None if nothing was measured."""
        if self.cost is None:
            return None
        resolved, cost, paths = self.resolved, self.cost, self.trial.paths
        mean_examples = statistics.fmean(self._examples(path[-1]) for path in paths)
        # Joint tuning is one stage on the examples of an ordering's tasks.
        joint = sum(
            not self.trial.store.has(key)
            for name, config in resolved.references.items()
            if config.strategy.name == CEILING
            for key in reference_keys(resolved, name)
        )
        examples = (stages + joint * (len(resolved.panel.orderings[0]) - 1)) * mean_examples
        cells = [resolved.panel.scored_tasks(self.trial.config, path) for path in paths]
        scored = sum(self.sizes[task, resolved.panel.split] for row in cells for task in row)
        training = examples * self.trial.config.training.epochs * cost.train_seconds
        scoring = stages * scored / len(paths) * cost.score_seconds
        total = training + scoring
        share = scoring / total if total else 0.0
        return Estimate(total, share, stages * cost.stored_bytes)

    def _stages(self) -> Iterator[tuple[StagePath, TrainedRecord]]:
        for path in self.trial.paths:
            record = self.trial.store.get(self.trial.key(path))
            if isinstance(record, TrainedRecord) and record.seconds:
                yield path, record

    def _scores(self, path: StagePath) -> Iterator[ScoreRecord]:
        for task in self.resolved.panel.scored_tasks(self.trial.config, path):
            record = self.trial.store.get(self.trial.lineage.scored(path, task))
            if isinstance(record, ScoreRecord) and record.seconds:
                yield record

    def _examples(self, tasks: tuple[str, ...]) -> int:
        return sum(self.sizes[task, "train"] for task in tasks)


def describe_estimate(resolved: ResolvedPlan, lanes: int, prior_run: PriorRun | None) -> str:
    """Describe the estimated cost of a search in a line."""
    measured = MeasuredStages(resolved)
    estimate = measured.estimate(count_stages(resolved, prior_run).to_train)
    if estimate is None or measured.cost is None:
        return "unknown, for no stage of this plan was trained here yet; --measure trains the first"
    cost = measured.cost
    return (
        f"about {format_duration(estimate.seconds / lanes)} on {lanes} lanes, of which scoring "
        f"{estimate.scoring_share:.0%}, and {estimate.stored_bytes / 1e9:.2f} GB of stages, if no trial is "
        f"stopped and each costs what plain tuning does ({cost.train_seconds * 1e3:.1f} ms an example "
        f"trained, {cost.score_seconds * 1e3:.1f} ms scored; measured on {cost.stages} stages)"
    )


# Measuring ---------------------------------------------------------------------------------------


def measure(resolved: ResolvedPlan) -> int:
    """Train and score the first stage of plain tuning in its own process; return its peak in bytes.

    The stage is one of the search's own and goes into its store. If the store has it already, it is
    trained again into a temporary store. Raises `InputError` if it fails.
    """
    if resolved.plan.workers_per_trial > 1:
        raise InputError(
            f"--measure trains one stage with one worker, got {resolved.plan.workers_per_trial}; a short "
            "search (--time-budget 300) measures several"
        )
    panel = dataclasses.replace(resolved.panel, orderings=(resolved.panel.orderings[0][:1],))
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    trial = (resolved.worker_spec, resolved.fingerprints, panel, resolved.finetune.to_dict())
    process = context.Process(target=_train_first_stage, args=(sender, *trial))
    process.start()
    sender.close()
    try:
        return int(receiver.recv())
    except EOFError:
        raise InputError("the first stage must train, and failed: its error is above") from None
    finally:
        process.join()


def _train_first_stage(
    pipe: Any, spec: WorkerSpec, fingerprints: Fingerprints, panel: Panel, values: Any
) -> None:
    from trainables.lanes.in_process import InProcessRunner

    config, store = TrialConfig.from_dict(values), StageStore(spec.store)
    with tempfile.TemporaryDirectory() as other:
        trial = PanelTrial(config, panel, fingerprints, store, InProcessRunner(spec))
        if store.has(trial.key(trial.paths[0])):
            aside = Path(other)
            runner = InProcessRunner(dataclasses.replace(spec, store=aside))
            trial = PanelTrial(config, panel, fingerprints, StageStore(aside), runner)
        trial.step()
    if torch.cuda.is_available():
        pipe.send(torch.cuda.max_memory_reserved() + GPU.process)
    else:
        pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
