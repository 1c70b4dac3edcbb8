"""One trial as a row of the table `trials`: its state, knobs, metrics and costs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from trainables.metrics.score_matrix import ScoreMatrix
from trainables.metrics.summary import defined_or_none
from trainables.trial_record import TrialRecord


def trial_row(trial: TrialRecord, joint: Sequence[ScoreMatrix]) -> dict[str, Any]:
    """Return a trial's row; `joint` holds the matrices of joint tuning, or none."""
    return {
        "name": trial.name,
        "strategy": trial.strategy,
        "state": trial.state,
        "stages_done": trial.stages_done,
        "stages_total": trial.stages_total,
        "message": trial.message,
        **dict(sorted(trial.knobs().items())),
        **trial.metrics,
        "intransigence": _intransigence(trial, joint),
        **_costs(trial),
    }


def _intransigence(trial: TrialRecord, joint: Sequence[ScoreMatrix]) -> float | None:
    if trial.state != "finished" or not joint or len(joint) != len(trial.matrices):
        return None
    pairs = zip(trial.matrices, joint, strict=True)
    return defined_or_none(statistics.fmean(m.intransigence(j.row(j.stages)) for m, j in pairs))


def _costs(trial: TrialRecord) -> dict[str, float]:
    trained = [stage for stage in trial.stages if stage.trained]
    shared = [stage for stage in trial.stages if not stage.trained]
    # The initial tasks are learned before any stage, by the trial that comes first.
    initial = trial.before.train_seconds if trial.before else 0.0
    own = initial if trial.before and trial.before.trained else 0.0
    every = [*([trial.before] if trial.before else []), *trial.stages, *trial.ahead]
    ahead = math.fsum(stage.seconds.get("train", 0.0) for stage in trial.ahead)
    return {
        "stages_trained": len(trained),
        "stages_shared": len(shared),
        "seconds_trained": own + ahead + math.fsum(s.train_seconds for s in trained),
        "seconds_shared": initial - own + math.fsum(s.train_seconds for s in shared),
        "seconds_waited": math.fsum(stage.waited for stage in every),
        "seconds_scored": math.fsum(
            stage.seconds.get(part, 0.0) for stage in every for part in ("score", "keep", "embed")
        ),
        "seconds_prefixes": math.fsum(_prefix_savings(trial)),
        "seconds_spared": _spared_by_stopping(trial),
        "seconds_cached": math.fsum(stage.seconds.get("cached", 0.0) for stage in every),
    }


def _prefix_savings(trial: TrialRecord) -> Iterator[float]:
    """Yield the seconds of each stage once for every further ordering that begins with its tasks."""
    orderings = [matrix.tasks for matrix in trial.matrices]
    for stage in trial.stages:
        path = tuple(task for group in stage.tasks for task in group)
        further = sum(tasks[: len(path)] == path for tasks in orderings) - 1
        yield max(0, further) * stage.train_seconds


def _spared_by_stopping(trial: TrialRecord) -> float:
    """Estimate the seconds that a stopped trial would still have taken, at the pace of its stages."""
    if trial.state != "stopped" or not trial.stages:
        return 0.0
    spent = [
        math.fsum(stage.seconds.get(part, 0.0) for part in ("train", "keep", "score"))
        for stage in trial.stages
        if stage.trained
    ]
    pace = statistics.fmean(spent) if spent else 0.0
    return pace * (trial.stages_total - trial.stages_done)
