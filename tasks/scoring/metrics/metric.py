"""A metric of answers: a score for each answer of a split, and one for all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class AnsweredQuestion(NamedTuple):
    """A question's predicted answer, and the references that it is compared with."""

    prediction: str
    references: Sequence[str]
    prompt: str = ""
    """Prompt of the question, from which multiple choice reads the options."""


class Scores(NamedTuple):
    """Scores of a split's answers."""

    value: float
    """Score of all answers together; NaN if there are none."""
    each: list[float]
    """Score of every answer. `value` is their mean, except for BLEU, which counts over all answers."""


@dataclass(frozen=True)
class Metric:
    """Scoring of a task's answers: within `range`, higher is better.

    `normalise` is applied to texts before they are compared. A reference that it leaves empty cannot be
    answered.
    """

    name: str
    description: str
    score: Callable[[Sequence[AnsweredQuestion]], Scores]
    normalise: Callable[[str], str]
    range: tuple[float, float] = (0.0, 1.0)
    corpus: bool = False
    """True: an answer's score depends on the other examples."""


def mean(each: Sequence[float]) -> float:
    """Return the mean; NaN of no numbers."""
    return math.fsum(each) / len(each) if each else math.nan


def one_by_one(
    score: Callable[[str, Sequence[str]], float],
) -> Callable[[Sequence[AnsweredQuestion]], Scores]:
    """Make a metric that scores every answer alone and averages the scores."""

    def scores(answered: Sequence[AnsweredQuestion]) -> Scores:
        each = [score(one.prediction, one.references) for one in answered]
        return Scores(mean(each), each)

    return scores
