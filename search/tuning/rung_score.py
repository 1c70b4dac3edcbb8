"""What trials are compared by while they run: scores on a common scale, after the same stages."""

from __future__ import annotations

import json
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Seen = Sequence[Mapping[str, float]]
"""`PanelTrial.seen`: after each stage, the scores of the tasks seen so far."""
CEILING, LEAST = "joint", 0.1


@dataclass
class Scale:
    """What each task's scores are divided by: what joint tuning reaches, once that trial is over.

    Scores of one metric may run to 1 and those of another to 10, and an easy task's moves more than a
    hard one's; without a scale some tasks would decide alone which trials are stopped.
    """

    run: Path
    """Of the search, whose references run first."""
    _known: dict[str, float] | None = field(default=None, init=False)

    def known(self) -> Mapping[str, float] | None:
        """By task; None while joint tuning is under way, and empty where it came to nothing."""
        if self._known:
            return self._known
        try:
            record = json.loads((self.run / "trials" / f"{CEILING}.json").read_text())
        except (OSError, ValueError):
            return None
        if record.get("state") == "finished":
            self._known = _reached(record)
            return self._known
        # One that failed may be tried once more.
        return {} if record.get("state") in ("diverged", "failed") else None


def _reached(record: Mapping[str, Any]) -> dict[str, float]:
    """What joint tuning reached; of a task that it hardly learned, a tenth of what it did of the others.

    Else such a task would decide alone: the least answer more would be many times the ceiling.
    """
    found: dict[str, list[float]] = {}
    for matrix in record["orderings"]:
        for task, score in zip(matrix["tasks"], matrix["values"][-1], strict=False):
            if score:  # neither 0 nor never evaluated
                found.setdefault(task, []).append(score)
    means = {task: statistics.fmean(scores) for task, scores in found.items()}
    least = LEAST * statistics.fmean(means.values()) if means else 0.0
    return {task: max(mean, least) for task, mean in means.items()}


def mean_score(scores: Mapping[str, float], scale: Mapping[str, float]) -> float:
    """Mean of the tasks' scores, each on its scale."""
    return statistics.fmean(score / scale.get(task, 1.0) for task, score in scores.items())


def rung_score(seen: Seen, scale: Mapping[str, float]) -> float:
    """Mean over the stages done, of all orderings, of the mean score of the tasks seen by then."""
    return statistics.fmean(mean_score(scores, scale) for scores in seen)


def ends(orderings: Collection[Sequence[str]], seen: Seen) -> list[Mapping[str, float]]:
    """The scores after the last stage of each ordering that is whole, in the order of the panel."""
    paths = dict.fromkeys(tuple(o[:i]) for o in orderings for i in range(1, len(o) + 1))
    places = {path: place for place, path in enumerate(paths)}
    last = [places[tuple(ordering)] for ordering in orderings]
    return [seen[place] for place in last if place < len(seen)]


def records_of(run: Path, but: Collection[str]) -> dict[str, dict[str, Any]]:
    """The records of the trials that ended by themselves or were stopped, by name."""
    found = {}
    for path in sorted((run / "trials").glob("[0-9]*.json")):
        record = json.loads(path.read_text())
        # One killed between its record and the journal is run again, and reports again.
        if path.stem not in but and record.get("state") in ("finished", "stopped"):
            found[path.stem] = record
    return found
