"""The tables of a search: its trials, the cells of their score matrices, its strategies.

Tables are rows in memory and become Arrow when they are written. Columns are flat except for lists of
one value per ordering; a metric or cell without a value is null.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from search.plan.checks import STAGES
from search.plan.objectives import Objective
from search.results.arrow_files import to_arrow, write_table
from search.results.pareto import (
    Row,
    choose_best,
    has_all_objectives,
    is_reference,
    maximised,
    pareto_front,
)
from search.results.predictions import answered_cells, write_predictions
from search.results.run_folder import RunFolder, read_run_folder
from search.results.trial_rows import trial_row
from spaces.references import CEILING
from tasks import EXTRA_SCORES
from trainables.metrics.glossary import GENERAL_KL, RETRIEVAL
from trainables.metrics.score_matrix import CONTINUAL_METRICS, ScoreMatrix
from trainables.metrics.summary import defined_or_none
from trainables.trial_record import TrialRecord

TIME_COLUMNS = (
    *("train_seconds", "stages_trained", "stages_shared"),
    *("seconds_trained", "seconds_shared", "seconds_waited", "seconds_scored"),
    *("seconds_prefixes", "seconds_spared", "seconds_cached"),
)
"""Columns that depend on the clock or on which trial came first; all others repeat exactly."""

SPREAD = ("final_average", "learning_average", "forgetting")
"""Metrics of which the table `strategies` holds the spread and the value of each ordering."""

TEXT, INTEGER, NUMBER = pa.string(), pa.int64(), pa.float64()
TRIAL_TYPES = dict.fromkeys(["name", "strategy", "state", "message"], TEXT)
CELL_TYPES = {
    **dict.fromkeys(["trial", "strategy", "tasks", "task"], TEXT),
    **dict.fromkeys(["ordering", "stage", "position"], INTEGER),
    **dict.fromkeys(["score", *EXTRA_SCORES, *RETRIEVAL, GENERAL_KL], NUMBER),
}
STRATEGY_TYPES = dict.fromkeys(["strategy", "best"], TEXT)
SPREAD_TYPES = {
    **{f"{name}_std": NUMBER for name in SPREAD},
    **{f"{name}_by_ordering": pa.list_(NUMBER) for name in SPREAD},
}
STATE_COUNTS = {
    "finished": ("finished",),
    "stopped": ("stopped",),
    "failed": ("diverged", "failed"),
    "running": ("running",),
}
"""Columns of the table `strategies` that count trials, with the states they count."""


class Tables(NamedTuple):
    """Rows of a search, sorted, so that equal searches give equal tables."""

    trials: Sequence[Row]
    """A row per trial: state, knobs (columns with a dot, such as `replay.ratio`), metrics, costs."""
    cells: Sequence[Row]
    """A row per cell of a score matrix; `stage` 0 is before any stage, `position` counts from 1."""
    strategies: Sequence[Row]
    """A row per strategy, the best first: its best finished trial, its spread, how trials ended."""


def build_tables(run: RunFolder) -> Tables:
    """Return the rows of a search; every row of a table has all of its columns."""
    joint, types = _joint_matrices(run), _column_types(run)
    trials = _with_all_columns([trial_row(trial, joint) for trial in run.trials], types["trials"])
    return Tables(
        trials,
        [cell for trial in run.trials for cell in _cell_rows(trial)],
        _with_all_columns(_strategy_rows(run, trials), types["strategies"]),
    )


def write_tables(folder: Path) -> Tables:
    """Write `tables/{trials,cells,strategies}.{arrow,csv}` into a search's folder, and its answers.

    The answers are `tables/predictions.arrow` and `predictions/`; see `search/results/predictions.py`.
    """
    run = read_run_folder(folder)
    tables = build_tables(run)
    target = folder / "tables"
    target.mkdir(exist_ok=True)
    for name, table in arrow_tables(run, tables).items():
        write_table(table, target / name)
    _write_answers(run, tables)
    return tables


def arrow_tables(run: RunFolder, tables: Tables | None = None) -> dict[str, pa.Table]:
    """Return the tables of a search as they are written, by name."""
    types, rows = _column_types(run), tables or build_tables(run)
    return {name: to_arrow(some, types[name]) for name, some in rows._asdict().items()}


def _write_answers(run: RunFolder, tables: Tables) -> None:
    """Write the answers of each strategy's best trial; as JSONL the final ones of the best of all."""
    names = [row["best"] for row in tables.strategies if row["best"]]
    cells = [
        cell
        for name in names
        for cell in answered_cells(name, run.orderings, run.trial(name).cells)
    ]
    if not cells:
        return
    front = pareto_front(tables.trials, run.objectives)
    best = choose_best(tables.trials, run.objectives) if front else names[0]
    chosen = {cell for cell in cells if cell.is_final and cell.trial == best}
    write_predictions(run.folder, cells, run.folder.parent / STAGES, chosen)


def knob_columns(row: Row, strategy: str) -> list[str]:
    """Return the columns of a trial's row that are knobs of `strategy`, training or adapter."""
    parts = ("training", "adapter", strategy)
    return [name for name in row if "." in name and name.split(".")[0] in parts]


def _column_types(run: RunFolder) -> dict[str, dict[str, pa.DataType]]:
    """Return, for each table, the types of the columns that exist even without a row."""
    names = [*dict.fromkeys(name for trial in run.trials for name in trial.metrics)]
    metrics = dict.fromkeys([*names, "intransigence"], NUMBER)
    return {
        "trials": TRIAL_TYPES | metrics,
        "cells": CELL_TYPES,
        "strategies": STRATEGY_TYPES | metrics | SPREAD_TYPES,
    }


def _with_all_columns(rows: Sequence[Row], types: Mapping[str, pa.DataType]) -> list[Row]:
    names = dict.fromkeys([name for row in rows for name in row] + list(types))
    return [{name: row.get(name) for name in names} for row in rows]


def _joint_matrices(run: RunFolder) -> tuple[ScoreMatrix, ...]:
    """Return the matrices of the best run of joint tuning in the first objective."""
    (metric, mode), *_ = run.objectives
    joint = [t for t in run.trials if t.strategy == CEILING and t.state == "finished"]
    sign = 1 if mode == "max" else -1
    joint.sort(key=lambda trial: -sign * (trial.metrics.get(metric) or 0.0))
    return joint[0].matrices if joint else ()


def _cell_rows(trial: TrialRecord) -> Iterator[Row]:
    for ordering, matrix in enumerate(trial.matrices, start=1):
        extra = {
            name: trial.extra_matrices[name][ordering - 1]
            if trial.extra_matrices.get(name)
            else None
            for name in (*EXTRA_SCORES, *RETRIEVAL, GENERAL_KL)
        }
        for stage in range(matrix.stages + 1):
            for position, (task, score) in enumerate(matrix.row(stage).items(), start=1):
                yield {
                    "trial": trial.name,
                    "strategy": trial.strategy,
                    "ordering": ordering,
                    "tasks": " > ".join(matrix.tasks),
                    "stage": stage,
                    "position": position,
                    "task": task,
                    "score": defined_or_none(score),
                    **{
                        name: defined_or_none(other.row(stage)[task]) if other else None
                        for name, other in extra.items()
                    },
                }


def _strategy_rows(run: RunFolder, trials: Sequence[Row]) -> list[Row]:
    rows = []
    for strategy in sorted({row["strategy"] for row in trials}):
        tried = [row for row in trials if row["strategy"] == strategy]
        best = _best_finished(tried, run.objectives)
        rows.append(
            {
                "strategy": strategy,
                "reference": is_reference(strategy),
                "best": best["name"] if best else None,
                "trials": len(tried),
                **{
                    k: sum(r["state"] in states for r in tried)
                    for k, states in STATE_COUNTS.items()
                },
                **(_metrics_of_best(run, best) if best else {}),
            }
        )
    return sorted(rows, key=lambda row: [-v for v in maximised(row, run.objectives)])


def _best_finished(rows: Sequence[Row], objectives: Sequence[Objective]) -> Row | None:
    """Return the best finished trial; those with every objective defined come before the others."""
    finished = [row for row in rows if row["state"] == "finished"]
    return max(
        finished,
        key=lambda r: (has_all_objectives(r, objectives), maximised(r, objectives)),
        default=None,
    )


def _metrics_of_best(run: RunFolder, row: Row) -> dict[str, Any]:
    trial = run.trial(row["name"])
    metrics = {k: row[k] for k in [*trial.metrics, "intransigence"]}
    for name in SPREAD:
        values = [defined_or_none(CONTINUAL_METRICS[name](matrix)) for matrix in trial.matrices]
        metrics[f"{name}_std"] = _sample_std(values)
        metrics[f"{name}_by_ordering"] = values
    return metrics


def _sample_std(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return statistics.stdev(known) if len(known) == len(values) > 1 else None
