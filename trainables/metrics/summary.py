"""All metrics of a score matrix at once."""

from __future__ import annotations

from collections.abc import Mapping

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
