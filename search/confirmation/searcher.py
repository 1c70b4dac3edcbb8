"""Ray Tune's side of a confirmation: its runs are handed out look by look, and a line tells their ends."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.search import Searcher

from search.confirmation.course import course_of, wanted_runs
from search.confirmation.finalists import ConfirmationRecord
from search.confirmation.results import TEST, VALIDATION, cell_name, read_results
from search.results.formatting import format_duration, format_number
from search.tuning.searcher import read_record

SCORING = 0.1
"""Time of scoring a run's last stage, as a share of its training; for estimates alone."""
Cell = tuple[int, str, str]
"""Unit, finalist and split of a run."""


class ConfirmationSearcher(Searcher):
    """Searcher that asks for the runs before the next look, and after it for those of who is left.

    Those that take longest come first, so that no lane waits long for the last one before a look. All
    units of a finalist come together: runs that would share a stage are then not begun at once. A run on
    the test split waits for the one on the validation split, whose stages it scores.
    """

    def __init__(self, plan: ConfirmationRecord, run: Path) -> None:
        super().__init__(plan.metric, "max" if plan.higher_is_better else "min")
        self.plan, self.run = plan, run
        self.under_way: dict[str, Cell] = {}
        """Runs under way, by Tune's trial id."""
        self.failed: set[Cell] = set()
        """Runs that failed in this session; the next one tries them again."""
        self._configs = {finalist.name: finalist.config for finalist in plan.finalists}
        self._seconds = {name: _seconds_in_search(run, name) for name in self._configs}

    def suggest(self, trial_id: str) -> Any:  # Tune's annotation leaves FINISHED out
        """Return the next run; None while all that are known are under way, `FINISHED` at the end."""
        wanted = wanted_runs(read_results(self.run, self.plan))
        begun = {*self.under_way.values(), *self.failed}
        for unit, name, split in sorted(wanted, key=lambda cell: -self._seconds[cell[1]]):
            waits = split == TEST and (unit, name, VALIDATION) in wanted
            if (unit, name, split) in begun or waits:
                continue
            self.under_way[trial_id] = (unit, name, split)
            return {
                "name": cell_name(unit, name, split),
                "trial": self._configs[name],
                "unit": self.plan.units[unit],
                "split": split,
            }
        return None if self.under_way else Searcher.FINISHED

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Ignore the result: runs are compared when they have ended."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        cell = self.under_way.pop(trial_id, None)
        if cell and error:
            self.failed.add(cell)

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: a resumed confirmation reads the records of its runs."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing."""


class ConfirmationProgress(tune.Callback):
    """Callback of Tune that says which run has ended, and how long those before the next look take."""

    def __init__(self, plan: ConfirmationRecord, run: Path) -> None:
        self.plan, self.run = plan, run
        self.begun, self.done = time.monotonic(), 0.0
        self.under_way: dict[str, float] = {}
        """Weights of the runs under way, by Tune's trial id."""
        self._seconds = {one.name: _seconds_in_search(run, one.name) for one in plan.finalists}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        name, split = trial.config["name"], trial.config["split"]
        finalist = name.partition("-")[2].removesuffix(f"-{split}")
        self.under_way[trial.trial_id] = self._weight(finalist, split)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.done += self.under_way.pop(trial.trial_id, 0.0)
        if trial.config["split"] != VALIDATION:
            return
        result = trial.last_result or {}
        results = read_results(self.run, self.plan)
        left = wanted_runs(results)
        about = "none left"
        if left:
            begun = sum(self.under_way.values()) / 2  # half done, on average
            more = sum(self._weight(name, split) for _, name, split in left) - begun
            seconds = (time.monotonic() - self.begun) / max(self.done + begun, 1e-9) * more
            about = f"{len(left)} runs left, about {format_duration(max(seconds, 0.0))}"
        print(
            f"confirmed: {trial.config['name']} {format_number(result.get(self.plan.metric))} · up to "
            f"unit {course_of(results).units}: {about}",
            flush=True,
        )

    def _weight(self, name: str, split: str) -> float:
        """Return how long a run takes beside others; on the test split, it only scores."""
        return max(self._seconds.get(name, 0.0), 1.0) * (1.0 if split == VALIDATION else SCORING)


def _seconds_in_search(run: Path, name: str) -> float:
    """Return the seconds of training an ordering that a finalist took in its search; 0 if not known."""
    record = read_record(run, name)
    if record is None or not record.matrices:
        return 0.0
    return (record.metrics.get("train_seconds") or 0.0) / len(record.matrices)
