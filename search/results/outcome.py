"""What came of a search, in the words and marks that the screen and the report share."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.results.formatting import format_mean_std, format_metric, format_number
from search.results.pareto import (
    Objective,
    choose_best,
    excluded,
    maximised,
    pareto_front,
    why_front_is_empty,
)
from search.results.run_folder import Run, read_run
from search.results.tables import Tables, knob_columns, tables
from spaces.references import CEILING, FLOOR


@dataclass(frozen=True)
class Outcome:
    """A search with its tables, the front, and the strategies that bound it."""

    run: Run
    tables: Tables
    trials: Mapping[str, dict[str, Any]]
    """The rows of the table `trials`, by name."""
    strategies: Mapping[str, dict[str, Any]]
    """The rows of the table `strategies`, by name, the best first."""
    front: Sequence[str]
    excluded: Mapping[str, str]
    best_trial: str | None
    """The trial to export; None if no trial can be chosen."""

    @property
    def objectives(self) -> Sequence[Objective]:
        """Of the search."""
        return self.run.objectives

    @property
    def winner(self) -> dict[str, Any] | None:
        """The row of the best trial's strategy."""
        return (
            self.strategies[self.trials[self.best_trial]["strategy"]] if self.best_trial else None
        )

    def reference_row(self, strategy: str) -> dict[str, Any] | None:
        """The row of `FLOOR` or `CEILING`, once it has a finished trial."""
        row = self.strategies.get(strategy)
        return row if row and row["best"] else None

    def total(self, column: str) -> float:
        """The sum of a column over all trials."""
        return math.fsum(row[column] or 0 for row in self.trials.values())

    def worker_seconds(self, column: str) -> float:
        """The same of seconds, which records have of one rank, for all ranks of a lane."""
        fields = self.run.plan.get("fields") or {}
        return self.total(column) * (fields.get("workers_per_trial") or 1)

    def labels(self, strategy: str) -> list[str]:
        """What is to be said of a strategy: best, front (n), floor, ceiling."""
        on_front = sum(self.trials[name]["strategy"] == strategy for name in self.front)
        marks = {
            "best": self.best_trial is not None
            and self.trials[self.best_trial]["strategy"] == strategy,
            f"front ({on_front})": on_front > 0,
            "floor": strategy == FLOOR,
            "ceiling": strategy == CEILING,
        }
        return [mark for mark, holds in marks.items() if holds]

    def varied_knobs(self, trial: str) -> dict[str, Any]:
        """A trial's knobs that vary between trials; of a strategy tried once, all of its own."""
        row = self.trials[trial]
        own = [r for r in self.trials.values() if r["strategy"] == row["strategy"]]
        return {
            name.split(".")[1]: row[name]
            for name in knob_columns(self.tables.trials, row["strategy"])
            if _varies(name, own if name.split(".")[0] == row["strategy"] else self.trials.values())
        }

    def summary(self) -> str:
        """The outcome in plain words."""
        if self.winner is None:
            return f"No trial can be chosen: {why_front_is_empty(self.tables.trials, self.objectives)}."
        return " ".join([self._lead(), *self._forgets(), *self._runner_up()])

    def _lead(self) -> str:
        winner, metric = self.winner, self.objectives[0][0]
        assert winner is not None
        orderings = f"over {len(self.run.orderings)} orderings" if self.run.orderings[1:] else ""
        text = (
            f"{winner['strategy']} (trial {self.best_trial}) is best: {format_metric(metric)} "
            f"{format_mean_std(winner, metric)} {orderings}".rstrip()
        )
        floor = self.reference_row(FLOOR)
        if winner["strategy"] == FLOOR:
            return f"{text}; nothing that was tried against forgetting beats plain {FLOOR}."
        if floor is None:
            return f"{text}. {FLOOR} did not finish, so there is no floor to compare with."
        gain = self._gain(winner, floor)
        if gain == 0:
            return f"{text}, no better than plain {FLOOR}."
        side = "better" if gain >= 0 else "worse"
        compared = f"{abs(gain):.3f} {side} than {FLOOR} ({format_number(floor[metric])})"
        return f"{text}, {compared}{self._closed(gain, floor)}."

    def _gain(self, row: Mapping[str, Any], other: Mapping[str, Any]) -> float:
        first = self.objectives[:1]
        return maximised(row, first)[0] - maximised(other, first)[0]

    def _closed(self, gain: float, floor: Mapping[str, Any]) -> str:
        ceiling, metric = self.reference_row(CEILING), self.objectives[0][0]
        if ceiling is None or ceiling[metric] is None:
            return ""
        gap = self._gain(ceiling, floor)
        if gap <= 0:
            return (
                f"; {CEILING} tuning ({format_number(ceiling[metric])}) is no better than {FLOOR} here, "
                "so it marks no ceiling"
            )
        closed = f"{gain / gap:.0%}".replace("%", " %")
        return f", which closes {closed} of the gap to {CEILING} tuning ({format_number(ceiling[metric])})"

    def _forgets(self) -> list[str]:
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
        """A lead smaller than the spread between orderings is worth a warning."""
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


def read_outcome(folder: Path | Run) -> Outcome:
    """The verdict on a search's folder; raises `InputError` if it is none."""
    run = folder if isinstance(folder, Run) else read_run(folder)
    made = tables(run)
    front = pareto_front(made.trials, run.objectives)
    return Outcome(
        run=run,
        tables=made,
        trials={row["name"]: row for row in made.trials.to_pylist()},
        strategies={row["strategy"]: row for row in made.strategies.to_pylist()},
        front=front,
        excluded=excluded(made.trials, run.objectives),
        best_trial=choose_best(made.trials, run.objectives) if front else None,
    )


def _varies(name: str, rows: Collection[Mapping[str, Any]]) -> bool:
    return len(rows) == 1 or len({str(row[name]) for row in rows}) > 1
