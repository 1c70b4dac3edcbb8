"""All metrics of a score matrix at once."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from trainables.metrics.glossary import OF_GENERAL, OF_INITIAL, WITH_REFERENCE
from trainables.metrics.score_matrix import CONTINUAL_METRICS, ScoreMatrix
from trainables.panel import Panel


def summary(
    matrix: ScoreMatrix,
    joint: Mapping[str, float] | None = None,
    reference: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Return every metric by name, NaN where undefined; those against a reference if it is given."""
    given = {"intransigence": joint, "relative_final": reference}
    against = [name for name, scores in given.items() if scores is not None]
    return {
        name: CONTINUAL_METRICS[name](matrix, *([given[name]] if name in given else []))
        for name in [*summary_names(matrix), *against]
    }


def summary_names(columns: ScoreMatrix | Panel) -> list[str]:
    """Return the metrics without references that initial and general tasks, if there are any, define."""
    further = {OF_INITIAL: columns.initial, OF_GENERAL: columns.general}
    gone = {name for names, tasks in further.items() if not tasks for name in names}
    return [name for name in CONTINUAL_METRICS if name not in {*WITH_REFERENCE, *gone}]


def metrics_over_orderings(matrices: Sequence[ScoreMatrix]) -> dict[str, float]:
    """Return every metric averaged over the orderings whose last row has scores; NaN without one."""
    whole = [matrix for matrix in matrices if is_whole(matrix)]
    return mean_metrics([summary(matrix) for matrix in whole], matrices[0])


def mean_metrics(
    each: Sequence[Mapping[str, float]], columns: ScoreMatrix | Panel
) -> dict[str, float]:
    """Return the mean of every metric, and the spread and the worst of the final averages."""
    metrics = {
        name: statistics.fmean(s[name] for s in each) if each else math.nan
        for name in summary_names(columns)
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
