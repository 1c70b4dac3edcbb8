"""The Pareto front over finished trials, and the best trial of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from search.plan.objectives import Objective, direction
from spaces.errors import InputError, unknown
from strategies import STRATEGIES
from trainables.metrics.glossary import GLOSSARY

Row = Mapping[str, Any]
"""A trial by column of the table `trials`; None where a metric is undefined."""


def is_reference(strategy: str) -> bool:
    """Return whether a strategy is the floor or ceiling, and never an answer of the search."""
    return strategy in STRATEGIES and STRATEGIES[strategy].is_reference


def maximised(row: Row, objectives: Sequence[Objective]) -> tuple[float, ...]:
    """Return the objectives signed so that more is better; minus infinity where one is undefined."""
    values = [(row.get(metric), mode) for metric, mode in objectives]
    return tuple(
        -math.inf if v is None or math.isnan(v) else v if mode == "max" else -v
        for v, mode in values
    )


def has_all_objectives(row: Row, objectives: Sequence[Objective]) -> bool:
    """Return whether every objective has a value."""
    return -math.inf not in maximised(row, objectives)


def excluded(trials: Iterable[Row], objectives: Sequence[Objective]) -> dict[str, str]:
    """Return the trials that cannot be on the front, with the reason of each."""
    reasons = {row["name"]: _why_excluded(row, objectives) for row in trials}
    return {name: reason for name, reason in reasons.items() if reason}


def _why_excluded(row: Row, objectives: Sequence[Objective]) -> str:
    if row["state"] != "finished":
        return f"{row['state']} after {row['stages_done']} of {row['stages_total']} stages"
    if is_reference(row["strategy"]):
        return f"{row['strategy']} is a reference run, which no search may choose"
    missing = [m for m, mode in objectives if not has_all_objectives(row, [(m, mode)])]
    return f"{', '.join(missing)} undefined" if missing else ""


def pareto_front(trials: Sequence[Row], objectives: Sequence[Objective]) -> list[str]:
    """Return the finished trials that no other dominates, best in the first objective first.

    Trials that tie in every objective are all kept; `excluded` gives the reasons of the others.
    """
    out = excluded(trials, objectives)
    points = {r["name"]: maximised(r, objectives) for r in trials if r["name"] not in out}
    front = [
        name
        for name, point in points.items()
        if not any(_dominates(other, point) for other in points.values())
    ]
    return sorted(front, key=lambda name: ([-value for value in points[name]], name))


def _dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    return one != other and all(a >= b for a, b in zip(one, other, strict=True))


def choose_best(
    trials: Sequence[Row], objectives: Sequence[Objective], by: str | None = None
) -> str:
    """Return the trial of the front that is best in the first objective, or in the metric `by`.

    Ties go to the next objective, then to the earlier name. Raises `InputError` on an empty front.
    """
    front = pareto_front(trials, objectives)
    if not front:
        raise InputError(f"no trial can be chosen: {why_front_is_empty(trials, objectives)}")
    rows = {row["name"]: row for row in trials}
    known = GLOSSARY.keys() & rows[front[0]].keys()
    if by and by not in known:
        raise unknown("metric of this search", by, known)
    first = [(by, dict(objectives).get(by) or direction(by))] if by else []
    order = [*first, *objectives]
    return min(front, key=lambda name: ([-v for v in maximised(rows[name], order)], name))


def why_front_is_empty(trials: Sequence[Row], objectives: Sequence[Objective]) -> str:
    """Return the reasons of the first five excluded trials, in one line."""
    reasons = [f"{name} {reason}" for name, reason in excluded(trials, objectives).items()]
    more = f" and {len(reasons) - 5} more" if len(reasons) > 5 else ""
    return ("; ".join(reasons[:5]) + more) or "the search has no trial yet"
