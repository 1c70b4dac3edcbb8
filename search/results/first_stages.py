"""Choice by the first stages alone (Lee et al. 2024, arXiv 2404.06466), from the records of a search.

The score matrices of its finished trials are cut after some stages. No stage is trained for it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from search.plan.objectives import Objective, check_objectives
from search.plan.protocol import first_stages
from search.results.formatting import format_metric, format_number
from search.results.outcome import Outcome
from search.results.pareto import Row, choose_best, maximised
from spaces.errors import InputError
from trainables.metrics.glossary import GENERAL_KL, GLOSSARY
from trainables.metrics.score_matrix import ScoreMatrix
from trainables.metrics.summary import defined_or_none, metrics_over_orderings
from trainables.trial_record import TrialRecord

FLAG = "--search-stages"
OF_WHOLE = ("stored_bytes", "added_parameters")
"""Metrics that are known at the end of whole orderings alone."""


def choose_by_first_stages(outcome: Outcome, stages: int, by: str | None = None) -> str:
    """Return the finished trial that is best by its first stages, as `choose_best` chooses.

    Raises `InputError` for a number of stages, or an objective, by which no choice can be made.
    """
    panel = first_stages(outcome.run.plan.panel, stages, FLAG)
    metrics = [metric for metric, _ in outcome.objectives]
    check_objectives(metrics, panel.scoring, panel)
    if panel.scoring == "cheap":
        raise InputError(
            f"{FLAG} needs scores of all tasks seen after {stages} stages, and this search has the last "
            'one\'s alone (scoring "cheap"); run.py --search-stages would score them'
        )
    rows = rows_after(outcome, stages)
    finished = [row for row in rows if row["state"] == "finished"]
    for metric in (*metrics, *([by] if by in GLOSSARY else [])):
        if finished and all(row.get(metric) is None for row in finished):
            raise InputError(
                f"{FLAG} {stages} chooses by what is known after {stages} stages, and {metric} is not: "
                "more stages, or another metric, would do"
            )
    return choose_best(rows, outcome.objectives, by)


def rows_after(outcome: Outcome, stages: int) -> list[Row]:
    """Return the rows of the table `trials` as they would be after the first stages of each ordering.

    Trials that did not finish keep their rows, and cannot be chosen.
    """
    return [
        {**row, **_metrics_after(outcome.run.trial(name), stages)}
        if row["state"] == "finished"
        else row
        for name, row in outcome.trials.items()
    ]


def _metrics_after(trial: TrialRecord, stages: int) -> dict[str, float | None]:
    """Return a trial's metrics after the first stages; orderings that begin alike count once."""
    cut = {matrix.tasks[:stages]: matrix.after(stages) for matrix in trial.matrices}
    found = metrics_over_orderings([*cut.values()])
    seconds = [stage.train_seconds for stage in trial.stages if len(stage.tasks) <= stages]
    before = trial.before.train_seconds if trial.before else 0.0
    unknown = dict.fromkeys(("intransigence", *OF_WHOLE))
    drifts = {m.tasks[:stages]: m for m in trial.extra_matrices.get(GENERAL_KL, ())}
    if kls := [m.row(stages)[task] for m in drifts.values() for task in m.general]:
        found[GENERAL_KL] = statistics.fmean(kls)
    known = {name: defined_or_none(value) for name, value in found.items()}
    return {**unknown, **known, "train_seconds": before + math.fsum(seconds)}


def later_average(matrices: Sequence[ScoreMatrix], stages: int) -> float:
    """Return the mean over orderings of mean_{j>k} a[T][j], the final scores of tasks after stage k."""
    finals = [list(matrix.row(matrix.stages).values()) for matrix in matrices]
    each = zip(finals, matrices, strict=True)
    return statistics.fmean(math.fsum(f[stages : m.stages]) / (m.stages - stages) for f, m in each)


def first_stages_lines(outcome: Outcome, stages: int) -> list[str]:
    """Return what the choice by the first stages scores on whole orderings, beside the choice by all.

    Raises `InputError` as `choose_by_first_stages`, and if no trial can be chosen by whole orderings.
    """
    chosen = choose_by_first_stages(outcome, stages)
    best = choose_best([*outcome.trials.values()], outcome.objectives)
    first = next(row for row in rows_after(outcome, stages) if row["name"] == chosen)
    metrics, rows = outcome.objectives, outcome.trials
    first_metric = metrics[:1]
    behind = maximised(rows[best], first_metric)[0] - maximised(rows[chosen], first_metric)[0]
    after = f"{_shown(first, metrics)} after {stages} stages, optimistic: it chose"
    lines = [
        f"Chosen by the first {stages} of {len(outcome.run.orderings[0])} tasks (Lee et al. 2024):",
        f"  {chosen} ({rows[chosen]['strategy']}): {after}",
        f"  on whole orderings: {_on_whole(outcome, chosen, stages)}",
        "Chosen by whole orderings, so that its figures are optimistic:",
        f"  {best} ({rows[best]['strategy']}): {_on_whole(outcome, best, stages)}",
    ]
    if chosen == best:
        return [*lines, "Both choose the same trial."]
    return [
        *lines,
        f"The choice by the first {stages} tasks is {behind:.3f} behind in "
        f"{format_metric(metrics[0][0])}, on these orderings and at one seed.",
    ]


def _on_whole(outcome: Outcome, trial: str, stages: int) -> str:
    """Return a trial's objectives on whole orderings, and the final scores of its later tasks."""
    average = later_average(outcome.run.trial(trial).matrices, stages)
    shown = _shown(outcome.trials[trial], outcome.objectives)
    return f"{shown}; tasks after stage {stages} end at {format_number(average)}"


def _shown(row: Row, objectives: Sequence[Objective]) -> str:
    return ", ".join(f"{format_metric(m)} {format_number(row[m])}" for m, _ in objectives)
