"""What a metric of answers is: from a split's answers to a score for each, and one for all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class AnsweredQuestion(NamedTuple):
    """One question, answered: what was said, and what it is compared with."""

    prediction: str
    references: Sequence[str]
    prompt: str = ""
    """Of use where it lists the options of a question."""


class Scores(NamedTuple):
    """What came of a split's answers."""

    value: float
    """Of all answers together; NaN if there are none."""
    each: list[float]
    """Of every answer. `value` is their mean, but for BLEU, which counts over all of them at once."""


@dataclass(frozen=True)
class Metric:
    """How the answers of a task are scored: within `range`, higher is better.

    `normalise` is what is done to a text before it is compared: a reference of which nothing is
    left cannot be answered.
    """

    name: str
    description: str
    score: Callable[[Sequence[AnsweredQuestion]], Scores]
    normalise: Callable[[str], str]
    range: tuple[float, float] = (0.0, 1.0)
    corpus: bool = False
    """Whether an answer's score depends on the other examples, so that one alone says nothing."""


def mean(each: Sequence[float]) -> float:
    """The mean; NaN of nothing."""
    return math.fsum(each) / len(each) if each else math.nan


def one_by_one(
    score: Callable[[str, Sequence[str]], float],
) -> Callable[[Sequence[AnsweredQuestion]], Scores]:
    """The metric that scores every answer for itself and takes the mean."""

    def scores(answered: Sequence[AnsweredQuestion]) -> Scores:
        each = [score(one.prediction, one.references) for one in answered]
        return Scores(mean(each), each)

    return scores
