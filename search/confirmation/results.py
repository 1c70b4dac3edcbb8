"""Scores of a confirmation so far, read from its trial records."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from search.confirmation.estimates import Spread, pooled_spread
from search.confirmation.finalists import FOLDER, ConfirmationRecord
from search.confirmation.looks import Comparison, compare
from search.plan.preferences import Preference
from spaces.errors import InputError
from trainables.trial_record import TrialRecord, trial_path

VALIDATION, TEST = "validation", "test"
SPLITS = (VALIDATION, TEST)
"""Splits that finalists are scored on: the first one chooses, the second one is reported."""


def cell_name(unit: int, finalist: str, split: str) -> str:
    """Return the name of a finalist's run on a unit, counted from 1 in names."""
    return f"unit{unit + 1}-{finalist}-{split}"


@dataclass(frozen=True)
class Confirmation:
    """The plan of a confirmation and the scores that it has so far."""

    plan: ConfirmationRecord
    records: Mapping[str, TrialRecord]
    """Records by `cell_name`."""
    run: Path | None = None
    """Folder of the search, whose storage holds the answers; None if there is none."""

    def score(self, unit: int, finalist: str, split: str = VALIDATION) -> float | None:
        """Return a finalist's score on a unit, signed so that more is better; None without one."""
        record = self.records.get(cell_name(unit, finalist, split))
        value = record.metrics.get(self.plan.metric) if record else None
        if record is None or record.state != "finished" or value is None:
            return None
        return value if self.plan.higher_is_better else -value

    def preferring(self, preference: Preference) -> Confirmation:
        """Return the confirmation with another preference among finalists that are not told apart."""
        return dataclasses.replace(self, plan=self.plan.model_copy(update={"prefer": preference}))

    def ended(self, unit: int, finalist: str, split: str) -> bool:
        """Return True for a run with a result, be it a score or none: it is not tried again."""
        record = self.records.get(cell_name(unit, finalist, split))
        return record is not None and record.state in ("finished", "diverged")

    def out(self) -> set[str]:
        """Return the finalists with a run that ended without a score.

        They diverged, or the metric is not defined for them, such as forgetting for joint tuning.
        """
        return {
            finalist.name
            for unit in range(len(self.plan.units))
            for finalist in self.plan.finalists
            if self.ended(unit, finalist.name, VALIDATION)
            and self.score(unit, finalist.name) is None
        }

    def paired(self, names: Iterable[str], units: int) -> dict[str, list[float]] | None:
        """Return each finalist's scores on the first units; None until all of them are there."""
        found = {name: [self.score(unit, name) for unit in range(units)] for name in names}
        if any(score is None for scores in found.values() for score in scores):
            return None
        return {name: [s for s in scores if s is not None] for name, scores in found.items()}

    def spread(self, units: int) -> Spread | None:
        """Return the spread of all that may win, by their scores on the first units.

        Joint tuning is no part of it: its runs have no ordering.
        """
        out, found = self.out(), list[list[float]]()
        for finalist in self.plan.finalists:
            if finalist.may_win and finalist.name not in out:
                own = [self.score(unit, finalist.name) for unit in range(units)]
                known = itertools.takewhile(lambda score: score is not None, own)
                found.append([score for score in known if score is not None])
        return pooled_spread(filter(None, found))

    def compared(self, scores: Mapping[str, Sequence[float]], units: int) -> Comparison:
        """Compare finalists by their scores on the first units; before the first look nobody is behind."""
        found = compare(scores, len(self.plan.looks), self.plan.step, self.spread(units))
        if units < self.plan.looks[0]:
            return dataclasses.replace(found, surely_behind=())
        return found


def read_results(run: Path, plan: ConfirmationRecord) -> Confirmation:
    """Read all records of a confirmation; those that are damaged or missing count as not there."""
    records = {}
    for number in range(len(plan.units)):
        for finalist in plan.finalists:
            for split in SPLITS:
                name = cell_name(number, finalist.name, split)
                try:
                    records[name] = TrialRecord.read(trial_path(run / FOLDER, name))
                except InputError:
                    continue
    return Confirmation(plan, records, run)
