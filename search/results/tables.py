"""A search's folder as tidy Arrow tables: its trials, the cells of their matrices, its strategies.

Columns are flat but for lists of one value per ordering; a metric or cell without a value is null.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from search.plan.checks import STAGES
from search.results import arrow_files as arrow
from search.results.pareto import (
    Objective,
    choose_best,
    has_all_objectives,
    is_reference,
    maximised,
    pareto_front,
)
from search.results.predictions import scored_cells, write_predictions
from search.results.run_folder import Run, TrialRecord, read_run
from tasks import EXTRA_SCORES
from trainables.metrics.glossary import RETRIEVAL
from trainables.metrics.score_matrix import METRICS, ScoreMatrix

TIME_COLUMNS = (
    *("train_seconds", "stages_trained", "stages_shared"),
    *("seconds_trained", "seconds_shared", "seconds_waited", "seconds_scored"),
    *("seconds_prefixes", "seconds_spared", "seconds_unlooked"),
)
"""What depends on the clock and on who came first; all else is equal when a search is run again."""

SPREAD = ("final_average", "learning_average", "forgetting")
"""Metrics whose spread over orderings, and value for each of them, the table `strategies` holds."""

TRIALS = dict.fromkeys(["name", "strategy", "state", "message"], pa.string())
CELLS = {
    **dict.fromkeys(["trial", "strategy", "tasks", "task"], pa.string()),
    **dict.fromkeys(["ordering", "stage", "position"], pa.int64()),
    **dict.fromkeys(["score", *EXTRA_SCORES, *RETRIEVAL], pa.float64()),
}
STRATEGIES = dict.fromkeys(["strategy", "best"], pa.string())
SPREADS = {
    **{f"{name}_std": pa.float64() for name in SPREAD},
    **{f"{name}_by_ordering": pa.list_(pa.float64()) for name in SPREAD},
}

COUNTS = {
    "finished": ("finished",),
    "stopped": ("stopped",),
    "failed": ("diverged", "failed"),
    "running": ("running",),
}


class Tables(NamedTuple):
    """What came of a search. Rows are sorted, so that equal searches give equal tables."""

    trials: pa.Table
    """A row a trial: state, knobs (columns with a dot, such as `replay.ratio`), metrics, costs."""
    cells: pa.Table
    """A row a cell of a score matrix; `stage` 0 is before any stage, `position` counts from 1."""
    strategies: pa.Table
    """A row a strategy, the best first: its best finished trial, its spread, how trials ended."""


def tables(run: Run) -> Tables:
    """The tables of a search that has been read."""
    joint = _joint(run)
    rows = [_trial_row(trial, joint) for trial in run.trials]
    cells = [cell for trial in run.trials for cell in _cell_rows(trial)]
    metrics = [*dict.fromkeys(m for t in run.trials for m in t.metrics), "intransigence"]
    floats = dict.fromkeys(metrics, pa.float64())
    return Tables(
        arrow.table(rows, TRIALS | floats),
        arrow.table(cells, CELLS),
        arrow.table(_strategy_rows(run, rows), STRATEGIES | floats | SPREADS),
    )


def write_tables(folder: Path) -> Tables:
    """Write `tables/{trials,cells,strategies}.{arrow,csv}` into a search's folder, and its answers.

    The answers are `tables/predictions.arrow` and `predictions/`; see `search/results/predictions.py`.
    """
    run = read_run(folder)
    made = tables(run)
    target = folder / "tables"
    target.mkdir(exist_ok=True)
    for name, table in made._asdict().items():
        arrow.write(table, target / name)
    _write_answers(run, made)
    return made


def _write_answers(run: Run, made: Tables) -> None:
    """The answers of each strategy's best trial, and those of the best of all at its ends as JSONL."""
    names = [row["best"] for row in made.strategies.to_pylist() if row["best"]]
    cells = [
        cell
        for name in names
        for cell in scored_cells(name, run.orderings, run.trial(name).records)
    ]
    if not cells:
        return
    front = pareto_front(made.trials, run.objectives)
    best_one = choose_best(made.trials, run.objectives) if front else names[0]
    chosen = {cell for cell in cells if cell.last and cell.trial == best_one}
    write_predictions(run.folder, cells, run.folder.parent / STAGES, chosen)


def knob_columns(trials: pa.Table, strategy: str | None = None) -> list[str]:
    """The columns that are knobs; those that mean something to `strategy` if it is given."""
    knobs = [name for name in trials.column_names if "." in name]
    shared = ("training", "adapter", strategy)
    return [k for k in knobs if strategy is None or k.split(".")[0] in shared]


# Rows --------------------------------------------------------------------------------------------


def _trial_row(trial: TrialRecord, joint: Sequence[ScoreMatrix]) -> dict[str, Any]:
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


def _costs(trial: TrialRecord) -> dict[str, float]:
    trained = [s for s in trial.stages if s.get("trained")]
    shared = [s for s in trial.stages if not s.get("trained")]
    # The initial tasks are learned before any stage, by whoever comes first.
    first = trial.before.get("train_seconds") or 0.0
    own = first if trial.before.get("trained") else 0.0
    every = [trial.before, *trial.stages, *trial.ahead]
    parts = [s.get("seconds") or {} for s in every]
    unreported = math.fsum((s.get("seconds") or {}).get("train", 0.0) for s in trial.ahead)
    return {
        "stages_trained": len(trained),
        "stages_shared": len(shared),
        "seconds_trained": own
        + unreported
        + math.fsum(s.get("train_seconds") or 0.0 for s in trained),
        "seconds_shared": first - own + math.fsum(s.get("train_seconds") or 0.0 for s in shared),
        "seconds_waited": math.fsum(s.get("waited") or 0.0 for s in every),
        "seconds_scored": math.fsum(
            p.get(n, 0.0) for p in parts for n in ("score", "keep", "sign")
        ),
        "seconds_prefixes": math.fsum(_prefixes(trial)),
        "seconds_spared": _spared(trial),
        "seconds_unlooked": math.fsum(p.get("unlooked", 0.0) for p in parts),
    }


def _prefixes(trial: TrialRecord) -> Iterable[float]:
    """What each stage would have cost again in every further ordering that begins with its tasks."""
    orderings = [matrix.tasks for matrix in trial.matrices]
    for stage in trial.stages:
        path = [task for group in stage.get("tasks", ()) for task in group]
        several = sum(list(tasks[: len(path)]) == path for tasks in orderings) - 1
        yield max(0, several) * (stage.get("train_seconds") or 0.0)


def _spared(trial: TrialRecord) -> float:
    """About what a trial that was stopped would still have taken, at the pace of its stages."""
    if trial.state != "stopped" or not trial.stages:
        return 0.0
    parts = [stage.get("seconds") or {} for stage in trial.stages if stage.get("trained")]
    spent = [math.fsum(v for n, v in p.items() if n in ("train", "keep", "score")) for p in parts]
    pace = statistics.fmean(spent) if spent else 0.0
    return pace * (trial.stages_total - trial.stages_done)


def _joint(run: Run) -> tuple[ScoreMatrix, ...]:
    """The matrices of joint tuning, or none."""
    found = [t for t in run.trials if t.strategy == "joint" and t.state == "finished"]
    return found[0].matrices if found else ()


def _intransigence(trial: TrialRecord, joint: Sequence[ScoreMatrix]) -> float | None:
    if trial.state != "finished" or len(joint) != len(trial.matrices):
        return None
    pairs = zip(trial.matrices, joint, strict=True)
    return _mean([matrix.intransigence(j.row(j.stages)) for matrix, j in pairs])


def _cell_rows(trial: TrialRecord) -> Iterable[dict[str, Any]]:
    for number, matrix in enumerate(trial.matrices, start=1):
        for stage in range(matrix.stages + 1):
            for position, (task, score) in enumerate(matrix.row(stage).items(), start=1):
                yield {
                    "trial": trial.name,
                    "strategy": trial.strategy,
                    "ordering": number,
                    "tasks": " > ".join(matrix.tasks),
                    "stage": stage,
                    "position": position,
                    "task": task,
                    "score": _value(score),
                    **{
                        name: _beside(trial, name, number, stage, task)
                        for name in (*EXTRA_SCORES, *RETRIEVAL)
                    },
                }


def _beside(trial: TrialRecord, name: str, number: int, stage: int, task: str) -> float | None:
    matrices = trial.beside.get(name, ())
    return _value(matrices[number - 1].row(stage)[task]) if matrices else None


def _strategy_rows(run: Run, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    found = []
    for strategy in sorted({t.strategy for t in run.trials}):
        mine = [row for row in rows if row["strategy"] == strategy]
        chosen = _best_of(mine, run.objectives)
        found.append(
            {
                "strategy": strategy,
                "reference": is_reference(strategy),
                "best": chosen["name"] if chosen else None,
                "trials": len(mine),
                **{k: sum(row["state"] in v for row in mine) for k, v in COUNTS.items()},
                **_of_best(run, chosen),
            }
        )
    return sorted(found, key=lambda row: [-v for v in maximised(row, run.objectives)])


def _best_of(
    rows: Sequence[dict[str, Any]], objectives: Sequence[Objective]
) -> dict[str, Any] | None:
    """The best finished trial; one with every objective defined before one without."""
    finished = [row for row in rows if row["state"] == "finished"]
    if not finished:
        return None
    return max(
        finished, key=lambda r: (has_all_objectives(r, objectives), maximised(r, objectives))
    )


def _of_best(run: Run, row: Mapping[str, Any] | None) -> dict[str, Any]:
    if row is None:
        return {}
    trial = run.trial(row["name"])
    metrics = {k: row[k] for k in [*trial.metrics, "intransigence"]}
    for name in SPREAD:
        values = [_value(METRICS[name](matrix)) for matrix in trial.matrices]
        metrics[f"{name}_std"] = _std(values)
        metrics[f"{name}_by_ordering"] = values
    return metrics


def _value(score: float) -> float | None:
    return None if math.isnan(score) else score


def _mean(values: Sequence[float]) -> float | None:
    return _value(statistics.fmean(values)) if values else None


def _std(values: Sequence[float | None]) -> float | None:
    """The sample standard deviation; none over a single ordering."""
    known = [v for v in values if v is not None]
    return statistics.stdev(known) if len(known) == len(values) > 1 else None
