"""Facts of a search that the report's sections list: names and values, rows of tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from search.confirmation.answer import confirmation_spent
from search.plan.saved_plan import PLAN_FILE
from search.results.formatting import format_duration, format_metric
from search.results.outcome import Outcome
from search.results.pareto import is_reference
from spaces.secrets import masked
from tasks import ANSWER_METRICS, EXTRA_SCORES, Metric, scale_note
from trainables.metrics.glossary import GENERAL_KL, OF_GENERAL
from trainables.metrics.score_matrix import ScoreMatrix
from trainables.trial_record import TRIALS

OPTIONAL_COLUMNS = (
    *("initial_forgetting", *OF_GENERAL, GENERAL_KL),
    *("stored_bytes", "added_parameters"),
)
"""Metrics that are columns only if some strategy has them."""


def header(outcome: Outcome) -> dict[str, str]:
    """Return the facts of the page's first lines."""
    plan = outcome.run.plan
    start, seconds = _start_and_duration(outcome)
    return {
        "plan": Path(plan.plan.plan).name,
        "model": Path(plan.model.name).name,
        "benchmark": Path(plan.benchmark.name).name,
        "protocol": plan.protocol,
        "date": f"{start:%Y-%m-%d %H:%M}",
        "duration": format_duration(seconds),
    }


def _start_and_duration(outcome: Outcome) -> tuple[datetime, float]:
    """Return when the search began and its seconds: by the plan, else by the files' times."""
    plan, folder = outcome.run.plan, outcome.run.folder
    files = [folder / PLAN_FILE, *(folder / TRIALS).glob("*.json")]
    stamps = [file.stat().st_mtime for file in files]
    start = datetime.fromisoformat(plan.started or datetime.fromtimestamp(stamps[0]).isoformat())
    return start, plan.seconds or max(stamps) - stamps[0]


def optional_columns(outcome: Outcome) -> list[str]:
    """Return those of `OPTIONAL_COLUMNS` that some strategy has."""
    rows = outcome.strategies.values()
    return [name for name in OPTIONAL_COLUMNS if any(row.get(name) is not None for row in rows)]


def general_columns(outcome: Outcome) -> list[str]:
    """Return the metrics of general tasks, if there are any."""
    return [*OF_GENERAL, GENERAL_KL] if outcome.run.plan.panel.general else []


def front_status(outcome: Outcome, trial: str) -> str:
    """Return whether a trial is on the front; of a finished one, why it could not be."""
    row = outcome.trials[trial]
    if row["state"] != "finished":
        return ""
    if is_reference(row["strategy"]):
        return "reference"
    return outcome.excluded.get(trial, "yes" if trial in outcome.front else "no")


# Tasks -------------------------------------------------------------------------------------------


def range_note(outcome: Outcome) -> str | None:
    """Return a warning if the averaged metrics have different ranges."""
    plan = outcome.run.plan
    averaged = {t: n for t, n in plan.metrics.items() if t not in plan.plan.held_out_tasks}
    return scale_note({t: name for t, name in averaged.items() if name in ANSWER_METRICS})


def task_rows(outcome: Outcome) -> Iterator[list[Any]]:
    """Yield a row for each task: its final score, and what separates lost form from lost content."""
    assert outcome.best_trial is not None
    trial = outcome.run.trial(outcome.best_trial)
    for task in sorted({task for matrix in trial.matrices for task in matrix.tasks}):
        metric = ANSWER_METRICS.get(outcome.run.plan.metrics.get(task, ""))
        extra = [_final_mean(trial.extra_matrices.get(name, ()), task) for name in EXTRA_SCORES]
        yield [
            task,
            metric.name if metric else "-",
            "{:g} to {:g}".format(*metric.range) if metric else "-",
            _final_mean(trial.matrices, task),
            *("-" if value is None else value for value in extra),
        ]


def _final_mean(matrices: Sequence[ScoreMatrix], task: str) -> float | None:
    """Return the mean over the orderings of a task's last value; None if it has none."""
    values = [m.row(m.stages)[task] for m in matrices if task in m.tasks]
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else None


def answer_metrics(outcome: Outcome) -> list[Metric]:
    """Return the metrics of the tasks' answers, by name."""
    names = sorted({name for name in outcome.run.plan.metrics.values() if name in ANSWER_METRICS})
    return [ANSWER_METRICS[name] for name in names]


# Cost and plan -----------------------------------------------------------------------------------


def cost(outcome: Outcome) -> dict[str, Any]:
    """Return what was spent and what was saved, in stages and in workers' time."""
    plan = outcome.run.plan

    def duration(column: str, less: float = 0.0) -> str:
        return format_duration(max(0.0, outcome.worker_seconds(column) - less))

    confirming = {}
    if (spent := confirmation_spent(outcome.run.folder)) is not None:
        confirming = {
            "stages trained by the confirmation": str(spent.trained),
            "stages of it taken from the store": str(spent.shared),
            "worker time training for the confirmation": format_duration(
                spent.seconds * plan.plan.workers_per_trial
            ),
        }
    return {
        "stages trained": f"{outcome.total('stages_trained'):.0f}",
        "stages taken from the store": f"{outcome.total('stages_shared'):.0f}",
        "worker time training": duration("seconds_trained"),
        "saved by stages in the store": duration("seconds_shared"),
        "saved by common prefixes of orderings": duration("seconds_prefixes"),
        "saved by cached vision features": duration("seconds_cached", less=plan.precompute_seconds),
        "saved by stopping weak trials, about": duration("seconds_spared"),
        "worker time scoring and consolidating": duration("seconds_scored"),
        "worker time waiting for another trial's stage": duration("seconds_waited"),
        "stages configured": plan.stages_configured,
        "stages distinct": plan.stages_distinct,
        **confirming,
    }


def plan(outcome: Outcome) -> dict[str, str]:
    """Return the plan's fields, and what they were resolved to."""
    saved = outcome.run.plan.to_values()
    panel, fields = saved.pop("panel"), saved.pop("plan")
    del panel["orderings"], saved["whole_orderings"]  # they have a section of their own
    return {
        format_metric(n): masked(_plain(value)) for n, value in {**fields, **saved, **panel}.items()
    }


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        shown = {k: v for k, v in value.items() if k != "path"}  # of no use to another reader
        if list(shown) == ["name"]:
            return str(shown["name"])
        return ", ".join(f"{k}: {_plain(v)}" for k, v in shown.items()) or "none"
    if isinstance(value, list):
        nested = [f"{v[0]} ({v[1]})" if isinstance(v, list) and len(v) == 2 else v for v in value]
        return ", ".join(map(str, nested)) or "none"
    return "none" if value is None else str(value)
