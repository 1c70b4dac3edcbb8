"""Scores of a split's answers: the task's metric, format compliance and constrained accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tasks.scoring.answer_formats import constrain, has_format
from tasks.scoring.answers import apply_metric
from tasks.scoring.metrics.metric import AnsweredQuestion, Scores, mean

EXTRA_SCORES = ("format_compliance", "constrained_accuracy")
"""Scores that are shown beside the metric's."""


@dataclass(frozen=True)
class SplitScores:
    """The metric's scores, and two that tell loss of the answer format from loss of knowledge.

    `constrained_accuracy` is the same metric on the nearest answers of the set; what it adds to the
    score was lost by format alone. None if the task has no format, or no answer set.
    """

    score: Scores
    format_compliance: Scores | None
    constrained_accuracy: Scores | None

    def values(self) -> dict[str, float | None]:
        """Return the scores of the whole split by name."""
        return {"score": self.score.value} | {
            name: scores.value if (scores := getattr(self, name)) else None for name in EXTRA_SCORES
        }

    def of(self, row: int) -> dict[str, float | None]:
        """Return the scores of one answer by name."""
        return {"score": self.score.each[row]} | {
            name: scores.each[row] if (scores := getattr(self, name)) else None
            for name in EXTRA_SCORES
        }


def score_split(
    metric: str,
    answered: Sequence[AnsweredQuestion],
    answer_format: str = "",
    answer_set: Sequence[str] | None = None,
) -> SplitScores:
    """Score a split's answers; `answer_format` is named as in a benchmark, `closed` needs the set."""
    compliance, constrained = None, None
    if answer_format and (answer_format != "closed" or answer_set):
        each = [float(has_format(one.prediction, answer_format, answer_set)) for one in answered]
        compliance = Scores(mean(each), each)
    if answer_format == "yes_no":
        answer_set = answer_set or ("yes", "no")
    if answer_set:
        texts = constrain([one.prediction for one in answered], answer_set)
        nearest = [one._replace(prediction=t) for one, t in zip(answered, texts, strict=True)]
        constrained = apply_metric(metric, nearest)
    return SplitScores(apply_metric(metric, answered), compliance, constrained)


def answered_from_rows(records: Sequence[dict[str, Any]]) -> list[AnsweredQuestion]:
    """Make answered questions of stored predictions: each has prediction, answers and prompt."""
    return [
        AnsweredQuestion(r["prediction"], tuple(r["answers"]), r["prompt"] or "") for r in records
    ]
