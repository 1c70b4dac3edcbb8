"""All metrics of a score matrix at once."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from trainables.metrics.glossary import OF_INITIAL, WITH_REFERENCE
from trainables.metrics.score_matrix import CONTINUAL_METRICS, ScoreMatrix


def summary(
    matrix: ScoreMatrix,
    joint: Mapping[str, float] | None = None,
    reference: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Return every metric by name, NaN where undefined; those against a reference if it is given."""
    given = {"intransigence": joint, "relative_final": reference}
    return {
        name: metric(matrix, *([given[name]] if name in given else []))
        for name, metric in CONTINUAL_METRICS.items()
        if (name not in given or given[name] is not None)
        and (matrix.initial or name not in OF_INITIAL)
    }


def summary_names(initial: bool) -> list[str]:
    """Return the metrics that `summary` names without references, with `initial` tasks or without."""
    gone = WITH_REFERENCE if initial else (*WITH_REFERENCE, *OF_INITIAL)
    return [name for name in CONTINUAL_METRICS if name not in gone]


def metrics_over_orderings(matrices: Sequence[ScoreMatrix]) -> dict[str, float]:
    """Return every metric averaged over the orderings whose last row has scores; NaN without one."""
    whole = [matrix for matrix in matrices if is_whole(matrix)]
    return mean_metrics([summary(matrix) for matrix in whole], bool(matrices[0].initial))


def mean_metrics(each: Sequence[Mapping[str, float]], initial: bool) -> dict[str, float]:
    """Return the mean of every metric, and the spread and the worst of the final averages."""
    metrics = {
        name: statistics.fmean(s[name] for s in each) if each else math.nan
        for name in summary_names(initial)
    }
    finals = [s["final_average"] for s in each]
    metrics["final_average_std"] = statistics.stdev(finals) if len(finals) > 1 else 0.0
    metrics["worst_ordering"] = min(finals, default=math.nan)
    return metrics


def is_whole(matrix: ScoreMatrix) -> bool:
    """Return whether an ordering was walked to its end: its last row has scores."""
    return any(not math.isnan(score) for score in matrix.row(matrix.stages).values())


def defined_or_none(score: float) -> float | None:
    """Return the score, or None for NaN, as records and tables hold an undefined value."""
    return None if math.isnan(score) else score
