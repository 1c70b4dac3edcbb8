"""The answers of one split marked: by the task's metric, for their format, and held to its answer set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tasks.scoring.answer_formats import constrain, has_format
from tasks.scoring.answers import apply_metric
from tasks.scoring.metrics.metric import AnsweredQuestion, Scores, mean

EXTRA_SCORES = ("format_compliance", "constrained_accuracy")
"""What stands beside a score wherever one is shown."""


@dataclass(frozen=True)
class SplitScores:
    """The metric's scores, and the two that tell forgetting of form from forgetting of matter.

    `constrained_accuracy` is the same metric on the nearest answers of the set: as far as it is above
    the score, the model still knew. None where the task has no format, or no answer set.
    """

    score: Scores
    format_compliance: Scores | None
    constrained_accuracy: Scores | None

    def values(self) -> dict[str, float | None]:
        """Of the whole split, by name."""
        return {"score": self.score.value} | {
            name: scores.value if (scores := getattr(self, name)) else None for name in EXTRA_SCORES
        }

    def of(self, row: int) -> dict[str, float | None]:
        """Of one answer, by name."""
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
    """Mark a split's answers. `answer_format` as a benchmark names it; `closed` needs the set."""
    obeying, held = None, None
    if answer_format and (answer_format != "closed" or answer_set):
        each = [float(has_format(one.prediction, answer_format, answer_set)) for one in answered]
        obeying = Scores(mean(each), each)
    if answer_format == "yes_no":
        answer_set = answer_set or ("yes", "no")
    if answer_set:
        texts = constrain([one.prediction for one in answered], answer_set)
        near = [one._replace(prediction=text) for one, text in zip(answered, texts, strict=True)]
        held = apply_metric(metric, near)
    return SplitScores(apply_metric(metric, answered), obeying, held)


def answered_from_rows(records: Sequence[dict[str, Any]]) -> list[AnsweredQuestion]:
    """The answers of stored predictions: each with prediction, answers and prompt."""
    return [
        AnsweredQuestion(r["prediction"], tuple(r["answers"]), r["prompt"] or "") for r in records
    ]
