"""A search's folder as the search left it: its plan and the record of each trial."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from search.plan.objectives import Objective
from search.plan.saved_plan import SavedPlan, read_saved_plan
from spaces.errors import InputError, unknown
from trainables.trial_record import TRIALS, TrialRecord


@dataclass(frozen=True)
class RunFolder:
    """The plan and the trials of a search."""

    folder: Path
    plan: SavedPlan
    trials: tuple[TrialRecord, ...]
    """Records, sorted by name."""
    skipped: Mapping[str, str]
    """Files that cannot be read as records, with the reason of each."""

    @property
    def name(self) -> str:
        """Name of the search."""
        return self.plan.name

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """Metrics of the search with their directions; the first one chooses the best trial."""
        return self.plan.objectives

    @property
    def orderings(self) -> tuple[tuple[str, ...], ...]:
        """Task orderings of the panel."""
        return self.plan.panel.orderings

    def trial(self, name: str) -> TrialRecord:
        """Return one trial; raises `InputError` with the nearest name."""
        for record in self.trials:
            if record.name == name:
                return record
        raise unknown("trial", name, [t.name for t in self.trials])


def read_run_folder(folder: Path) -> RunFolder:
    """Read a search's folder; raises `InputError` if it is not one."""
    plan = read_saved_plan(folder)
    trials: list[TrialRecord] = []
    skipped: dict[str, str] = {}
    for file in sorted((folder / TRIALS).glob("*.json")):
        try:
            record = TrialRecord.read(file)
        except InputError as error:
            skipped[file.name] = str(error)
            continue
        if record.panel and record.panel.split != plan.panel.split:
            skipped[file.name] = (
                f"it was scored on the {record.panel.split} split, which chooses nothing"
            )
        else:
            trials.append(record)
    return RunFolder(folder, plan, tuple(trials), skipped)
