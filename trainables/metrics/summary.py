"""All metrics of a score matrix at once, and of the matrices of several orderings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from spaces.errors import unknown
from trainables.metrics.glossary import GLOSSARY, OF_INITIAL, WITH_REFERENCE
from trainables.metrics.score_matrix import METRICS, ScoreMatrix


def summary(
    matrix: ScoreMatrix,
    joint: Mapping[str, float] | None = None,
    reference: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Every metric by name, NaN where undefined; those against a reference where it is given."""
    given = {"intransigence": joint, "relative_final": reference}
    return {
        name: metric(matrix, *([given[name]] if name in given else []))
        for name, metric in METRICS.items()
        if (name not in given or given[name] is not None)
        and (matrix.initial or name not in OF_INITIAL)
    }


def summary_names(initial: bool) -> list[str]:
    """What `summary` names without references, with tasks learned before the ordering or without."""
    gone = WITH_REFERENCE if initial else (*WITH_REFERENCE, *OF_INITIAL)
    return [name for name in METRICS if name not in gone]


def worst_ordering(matrices: Iterable[ScoreMatrix], metric: str = "final_average") -> float:
    """The worst value of a metric over the orderings; NaN if it is undefined for any of them."""
    if metric not in METRICS or metric in WITH_REFERENCE:
        raise unknown("metric", metric, METRICS.keys() - set(WITH_REFERENCE))
    values = [METRICS[metric](matrix) for matrix in matrices]
    if not values or any(math.isnan(value) for value in values):
        return math.nan
    return min(values) if GLOSSARY[metric].higher_is_better else max(values)
