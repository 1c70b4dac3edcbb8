"""Scores by which running trials are compared: on a common scale, after the same stages.

The rung score of a trial is the mean of its `stage_scores` so far.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from spaces.errors import InputError
from spaces.references import CEILING, FLOOR
from trainables.metrics.score_matrix import ScoreMatrix
from trainables.trial_record import TRIALS, TrialRecord, trial_path

SeenScores = Sequence[Mapping[str, float]]
"""Scores of the tasks seen so far, after each stage: `TrialOutcome.seen_scores`."""
LEAST_SHARE = 0.1
"""Least scale of a task, as a share of the mean over all tasks."""


@dataclass
class CeilingScale:
    """Score of each task in joint tuning, by which the scores of other trials are divided.

    Some metrics run to 1 and others to 10, and scores of easy tasks spread more than those of hard
    ones. Without a scale, a few tasks would decide which trials are stopped.
    """

    run: Path
    """Folder of the search; its references run first."""
    _scores: dict[str, float] | None = field(default=None, init=False)

    def read(self) -> Mapping[str, float] | None:
        """Return the scale by task: None while joint tuning is running, empty if it failed."""
        if self._scores:
            return self._scores
        try:
            record = TrialRecord.read(trial_path(self.run, CEILING))
        except InputError:
            return None
        if record.state == "finished":
            self._scores = _ceiling_scores(record.matrices)
            return self._scores
        # A failed trial may be run once more.
        return {} if record.state in ("diverged", "failed") else None


def _ceiling_scores(matrices: Sequence[ScoreMatrix]) -> dict[str, float]:
    """Return the mean score of each task in joint tuning, at least `LEAST_SHARE` of their mean.

    Otherwise a task that joint tuning hardly learned would decide alone: one more right answer would
    be worth many times the ceiling.
    """
    scores: dict[str, list[float]] = {}
    for matrix in matrices:
        for task, score in zip(matrix.tasks, matrix.values[-1].tolist(), strict=False):
            if score and not math.isnan(score):  # NaN: never evaluated
                scores.setdefault(task, []).append(score)
    means = {task: statistics.fmean(values) for task, values in scores.items()}
    least = LEAST_SHARE * statistics.fmean(means.values()) if means else 0.0
    return {task: max(mean, least) for task, mean in means.items()}


def stage_scores(seen: SeenScores, scale: Mapping[str, float]) -> list[float]:
    """Return the mean of the scaled scores after each stage, over the tasks seen by then."""
    return [
        statistics.fmean(score / scale.get(task, 1.0) for task, score in scores.items())
        for scores in seen
    ]


def ended_records(run: Path, but: Collection[str]) -> list[TrialRecord]:
    """Return the records of the finished and stopped trials, except joint ones and those named in `but`."""
    files = [
        *sorted((run / TRIALS).glob("[0-9]*.json")),
        *sorted((run / TRIALS).glob(f"{FLOOR}*.json")),
    ]
    # A trial killed between its record and the journal is run again, and reports again.
    records = [TrialRecord.read(file) for file in files if file.stem not in but]
    return [record for record in records if record.state in ("finished", "stopped")]
