"""Objectives of a search: metrics of a trial, each with the direction in which it is good."""

from __future__ import annotations

from collections.abc import Sequence

from spaces.errors import InputError, unknown
from trainables.metrics.glossary import GENERAL_KL, GLOSSARY, OF_GENERAL, OF_INITIAL, WITH_REFERENCE
from trainables.metrics.score_matrix import CONTINUAL_METRICS
from trainables.panel import Panel

Objective = tuple[str, str]
"""A metric and its direction, "max" or "min"."""

TRIAL_METRICS = (
    *(metric for metric in CONTINUAL_METRICS if metric not in WITH_REFERENCE),
    GENERAL_KL,
    *("worst_ordering", "final_average_std", "train_seconds", "stored_bytes", "added_parameters"),
)
"""Metrics that a trial reports, and that may be objectives: of a score matrix, and of all orderings."""

NEED_TWO_TASKS = ("forgetting", "chaudhry_forgetting", "backward_transfer", "forward_transfer")
"""Metrics that a single task does not define."""


def direction(metric: str) -> str:
    """Return "max" or "min", whichever is good; raises `InputError` for an unknown metric."""
    if metric not in GLOSSARY:
        raise unknown("metric", metric, GLOSSARY)
    return "max" if GLOSSARY[metric].higher_is_better else "min"


def parse_objectives(objectives: Sequence[str]) -> list[Objective]:
    """Parse `metric`, `metric:max` or `metric:min`; raises `InputError` unless all metrics differ."""
    parsed = []
    for objective in objectives:
        metric, _, given = objective.partition(":")
        if given not in ("", "max", "min"):
            raise InputError(f'an objective must end in ":max" or ":min", got "{objective}"')
        parsed.append((metric, given or direction(metric)))
    metrics = [metric for metric, _ in parsed]
    if not metrics or len(set(metrics)) != len(metrics):
        raise InputError(
            "objectives must be one metric or more that differ, got "
            + (", ".join(metrics) or "none")
        )
    return parsed


def check_objectives(objectives: Sequence[str], scoring: str, panel: Panel) -> None:
    """Raise `InputError` for an objective that is undefined for the trials of this panel."""
    for objective in objectives:
        if (name := objective.partition(":")[0]) not in TRIAL_METRICS:
            raise unknown("objective", name, TRIAL_METRICS)
    names = {name for name, _ in parse_objectives(objectives)}
    if set(OF_INITIAL) & names and not panel.initial:
        raise InputError(
            f"{' and '.join(OF_INITIAL)} need tasks that were learned before: the benchmark names none "
            "under initial, or the plan leaves them out"
        )
    if (
        asked := [name for name in (*OF_GENERAL, GENERAL_KL) if name in names]
    ) and not panel.general:
        raise InputError(
            f"{' and '.join(asked)} need general tasks, which are scored and never trained: got none; "
            "general: [...] in the benchmark's file, or --general with some of its tasks, would do"
        )
    if "forward_transfer" in names and scoring == "seen":
        raise InputError('the objective forward_transfer needs scoring "next" or "all", got "seen"')
    if "chaudhry_forgetting" in names and scoring != "all":
        raise InputError(
            "the objective chaudhry_forgetting needs every task after each stage, which is scoring "
            f'"all", got "{scoring}"; the objective forgetting takes the stages from the task\'s own on'
        )
    if "average_over_stages" in names and scoring == "cheap":
        raise InputError(
            'the objective average_over_stages needs every task seen after each stage, got scoring "cheap"'
        )
    shortest = min(len(ordering) for ordering in panel.orderings)
    if shortest < 2 and (undefined := [name for name in NEED_TWO_TASKS if name in names]):
        raise InputError(
            f"orderings must have at least 2 tasks for {' and '.join(undefined)}, got {shortest}: nothing "
            "is forgotten after a single stage; more stages, or --objectives final_average, would do"
        )
