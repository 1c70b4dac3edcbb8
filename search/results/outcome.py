"""The outcome of a search: front, best trial, labels and summary for terminal and report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.plan.objectives import Objective
from search.results.formatting import format_mean_std, format_metric, format_number
from search.results.pareto import (
    Row,
    choose_best,
    excluded,
    maximised,
    pareto_front,
    why_front_is_empty,
)
from search.results.run_folder import RunFolder, read_run_folder
from search.results.tables import build_tables, knob_columns
from spaces.references import CEILING, FLOOR, REFERENCES


@dataclass(frozen=True)
class Outcome:
    """Result of a search: its rows, its Pareto front, its best trial and its reference runs."""

    run: RunFolder
    trials: Mapping[str, Row]
    """Rows of the table `trials`, by name."""
    strategies: Mapping[str, Row]
    """Rows of the table `strategies`, by name, the best first."""
    cells: Sequence[Row]
    """Rows of the table `cells`."""
    front: Sequence[str]
    """Trials of the Pareto front, best in the first objective first."""
    excluded: Mapping[str, str]
    """Trials that cannot be on the front, with the reason of each."""
    best_trial: str | None
    """Trial to export; None if no trial can be chosen."""

    @property
    def objectives(self) -> Sequence[Objective]:
        """Metrics of the search with their directions."""
        return self.run.objectives

    @property
    def winner(self) -> Row | None:
        """Row of the best trial's strategy."""
        if self.best_trial is None:
            return None
        return self.strategies[self.trials[self.best_trial]["strategy"]]

    def reference_row(self, strategy: str) -> Row | None:
        """Return the row of `FLOOR` or `CEILING`; None before one of its trials has finished."""
        row = self.strategies.get(strategy)
        return row if row and row["best"] else None

    def total(self, column: str) -> float:
        """Return the sum of a column over all trials."""
        return math.fsum(row[column] or 0 for row in self.trials.values())

    def worker_seconds(self, column: str) -> float:
        """Return the sum of a column of seconds over all ranks; rows hold those of one rank."""
        return self.total(column) * self.run.plan.plan.workers_per_trial

    def labels(self, strategy: str) -> list[str]:
        """Return the labels of a strategy: best, front (n), floor, ceiling."""
        on_front = sum(self.trials[name]["strategy"] == strategy for name in self.front)
        labels = {
            "best": self.winner is not None and self.winner["strategy"] == strategy,
            f"front ({on_front})": on_front > 0,
            "floor": strategy == FLOOR,
            "ceiling": strategy == CEILING,
            "tuned": strategy in REFERENCES and self.strategies[strategy]["best"] != strategy,
        }
        return [label for label, holds in labels.items() if holds]

    @property
    def untrained(self) -> float | None:
        """Mean score of the model before any training, over all tasks; None if nobody scored it."""
        # Orderings of first stages alone may differ in their tasks.
        rows = [
            {t: s for m in one.matrices for t, s in m.row(0).items()} for one in self.run.trials
        ]
        scores = [[row[task] for task in self.run.plan.panel.tasks if task in row] for row in rows]
        known = [row for row in scores if row and not any(map(math.isnan, row))]
        return math.fsum(known[0]) / len(known[0]) if known else None

    def varied_knobs(self, trial: str) -> dict[str, Any]:
        """Return a trial's knobs that differ between trials; all own knobs of a strategy tried once."""
        row = self.trials[trial]
        siblings = [r for r in self.trials.values() if r["strategy"] == row["strategy"]]
        knobs = {}
        for column in knob_columns(row, row["strategy"]):
            part, knob = column.split(".")
            if _varies(column, siblings if part == row["strategy"] else [*self.trials.values()]):
                knobs[knob] = row[column]
        return knobs

    def summary(self) -> str:
        """Return the outcome in a few sentences."""
        if self.winner is None:
            reasons = why_front_is_empty([*self.trials.values()], self.objectives)
            return f"No trial can be chosen: {reasons}."
        return " ".join([self._lead(), *self._forgetting(), *self._runner_up()])

    def _lead(self) -> str:
        """Return the leader of the search, whose figure chose it, beside the two references."""
        winner, metric = self.winner, self.objectives[0][0]
        assert winner is not None
        orderings = f" over {len(self.run.orderings)} orderings" if self.run.orderings[1:] else ""
        text = (
            f"{winner['strategy']} (trial {self.best_trial}) leads the search: {format_metric(metric)} "
            f"{format_mean_std(winner, metric)}{orderings}, which is optimistic, for it chose the trial"
        )
        floor = self.reference_row(FLOOR)
        if winner["strategy"] == FLOOR:
            return f"{text}; no strategy of this search beats {self._tuned(FLOOR)}."
        if floor is None:
            return f"{text}. {FLOOR} did not finish, so there is no floor to compare with."
        gain = self._gain(winner, floor)
        if gain == 0:
            return f"{text}, the same as {self._tuned(FLOOR)}."
        return f"{text}; {self._tuned(FLOOR)} {format_number(floor[metric])}{self._ceiling(floor)}."

    def _tuned(self, strategy: str) -> str:
        """Return a reference's name, with its tuned run if that is its best."""
        best = self.strategies[strategy]["best"]
        return f"plain {strategy}" if best == strategy else f"tuned {strategy} ({best})"

    def _gain(self, row: Row, other: Row) -> float:
        first = self.objectives[:1]
        return maximised(row, first)[0] - maximised(other, first)[0]

    def _ceiling(self, floor: Row) -> str:
        ceiling, metric = self.reference_row(CEILING), self.objectives[0][0]
        if ceiling is None or ceiling[metric] is None:
            return ""
        joint = f"{CEILING} tuning {format_number(ceiling[metric])}, one run"
        if self._gain(ceiling, floor) <= 0:
            return f"; {joint}, does not exceed {FLOOR}, so this search has no ceiling"
        return f"; {joint}"

    def _forgetting(self) -> list[str]:
        floor, winner = self.reference_row(FLOOR), self.winner
        assert winner is not None
        if not floor or floor is winner or None in (floor["forgetting"], winner["forgetting"]):
            return []
        lost = winner["forgetting"]
        forgets = f"It forgets {format_number(lost)}"
        if lost < 0:  # later tasks help earlier ones
            forgets = f"It forgets nothing, and gains {format_number(-lost)} on earlier tasks,"
        return [f"{forgets} where {FLOOR} forgets {format_number(floor['forgetting'])}."]

    def _runner_up(self) -> list[str]:
        """Return a warning if the lead is smaller than the spread between orderings."""
        winner, metric = self.winner, self.objectives[0][0]
        assert winner is not None
        std = winner.get(f"{metric}_std")
        rest = [r for r in self.strategies.values() if r["best"] and not r["reference"]]
        others = [r for r in rest if r is not winner and r[metric] is not None]
        if not others or std is None or (lead := self._gain(winner, others[0])) >= std:
            return []
        return [
            f"The runner-up, {others[0]['strategy']}, is {abs(lead):.3f} away: "
            "less than the spread between orderings."
        ]


def read_outcome(folder: Path | RunFolder) -> Outcome:
    """Read the outcome of a search from its folder; raises `InputError` if it is not such a folder."""
    run = folder if isinstance(folder, RunFolder) else read_run_folder(folder)
    tables = build_tables(run)
    front = pareto_front(tables.trials, run.objectives)
    return Outcome(
        run=run,
        trials={row["name"]: row for row in tables.trials},
        strategies={row["strategy"]: row for row in tables.strategies},
        cells=tables.cells,
        front=front,
        excluded=excluded(tables.trials, run.objectives),
        best_trial=choose_best(tables.trials, run.objectives) if front else None,
    )


def _varies(column: str, rows: Sequence[Row]) -> bool:
    return len(rows) == 1 or any(row[column] != rows[0][column] for row in rows)
