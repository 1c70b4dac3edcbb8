"""Choice of the finalists, and the record of a confirmation: who is trained again, and on what."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from search.confirmation.looks import FEWEST
from search.confirmation.units import draw_units, orderings_left
from search.results.outcome import Outcome
from search.results.pareto import maximised
from spaces.errors import InputError
from spaces.files import write_atomically
from spaces.records import Record
from spaces.references import CEILING, FLOOR, REFERENCES
from trainables.config import TrialConfig
from trainables.unit import Unit

FOLDER = "confirmation"
"""Folder of a search's folder that holds its confirmation; `trials` in it holds the records."""
FILE = "confirmation.json"
MOST_FINALISTS = 5
"""Finalists beside the references."""
DEFAULT_SHARE = 0.35
"""Share of the search's trained stages that a confirmation may train if no number is asked for."""
MOST_UNITS = 8
"""Units of a confirmation if no number is asked for."""


class Finalist(BaseModel):
    """A configuration that is trained again."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    """Name of its trial in the search; of a reference run, its strategy."""
    strategy: str
    config: dict[str, dict[str, Any]]
    """`TrialConfig.to_dict()`."""

    @property
    def may_win(self) -> bool:
        """False for joint tuning, which no stream of tasks allows."""
        return self.strategy != CEILING

    @property
    def is_plain(self) -> bool:
        """True for sequential tuning that does nothing against forgetting."""
        return self.strategy == FLOOR


class ConfirmationRecord(Record):
    """Content of `confirmation.json`: fixed before the first unit is trained."""

    TITLE: ClassVar[str] = "plan of a confirmation"
    SCHEMA: ClassVar[int] = 1
    SEALED: ClassVar[bool] = True
    REMEDY: ClassVar[str] = "delete the folder of the confirmation, and confirm again"

    finalists: tuple[Finalist, ...]
    units: tuple[dict[str, Any], ...]
    """`Unit.to_dict()` of each unit, in the order in which they are trained."""
    looks: tuple[int, ...]
    """Numbers of units after which the finalists are compared."""
    metric: str
    """Metric of the validation split by which finalists are compared: the first objective."""
    higher_is_better: bool

    def unit(self, number: int) -> Unit:
        """Return a unit by its number, from 0."""
        return Unit.from_dict(self.units[number])

    def write(self, run: Path) -> None:
        """Write the record into the folder of a search."""
        folder = run / FOLDER
        folder.mkdir(exist_ok=True)
        write_atomically(folder / FILE, self.to_json())


def read_confirmation(run: Path) -> ConfirmationRecord | None:
    """Read the plan of a search's confirmation; None if there is none."""
    path = run / FOLDER / FILE
    try:
        return ConfirmationRecord.from_json(path.read_bytes(), str(path))
    except FileNotFoundError:
        return None


def choose_finalists(outcome: Outcome, references: Mapping[str, TrialConfig]) -> list[Finalist]:
    """Return the best trial of each searched strategy, the best ones first, and the reference runs.

    Raises `InputError` if no trial of the search can be confirmed.
    """
    rows = outcome.strategies.values()
    best = [row for row in rows if row["best"] and row["best"] not in REFERENCES]
    best.sort(key=lambda row: [-value for value in maximised(row, outcome.objectives)])
    if not best:
        raise InputError("there is nothing to confirm: no trial of this search has finished")
    chosen = [
        Finalist(
            name=row["best"],
            strategy=row["strategy"],
            config=outcome.run.trial(row["best"]).config,
        )
        for row in best[:MOST_FINALISTS]
    ]
    runs = [Finalist(name=n, strategy=n, config=references[n].to_dict()) for n in REFERENCES]
    return [*chosen, *runs]


def affordable_units(outcome: Outcome, finalists: int) -> int:
    """Return the units that a share of the search's own stages pays for.

    There are `FEWEST` at least, and no more than `MOST_UNITS` or than fresh orderings.
    """
    panel, each = outcome.run.plan.panel, finalists * len(outcome.run.orderings[0])
    paid = math.floor(DEFAULT_SHARE * outcome.total("stages_trained") / each)
    return max(FEWEST, min(MOST_UNITS, paid, orderings_left(panel.tasks, panel.orderings)))


def plan_confirmation(
    outcome: Outcome, finalists: list[Finalist], units: int, looks: tuple[int, ...]
) -> ConfirmationRecord:
    """Return the plan of a confirmation with fresh units."""
    (metric, mode), panel = outcome.objectives[0], outcome.run.plan.panel
    drawn = draw_units(panel.tasks, panel.orderings, units, outcome.run.plan.plan.seed)
    return ConfirmationRecord(
        finalists=tuple(finalists),
        units=tuple(unit.to_dict() for unit in drawn),
        looks=looks,
        metric=metric,
        higher_is_better=mode == "max",
    )
