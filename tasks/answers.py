"""Metrics of answers: one prediction against its references, a score from 0 to 1.

CIDEr is not among them: `pycocoevalcap` brings 104 MB of Java archives for one small class, and a
CIDEr score depends on the other examples of the corpus.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from spaces.errors import InputError, unknown

_NUMBERS = "zero one two three four five six seven eight nine ten".split()
_DIGITS = {"none": "0"} | {word: str(number) for number, word in enumerate(_NUMBERS)}
_ARTICLES = frozenset({"a", "an", "the"})
# Only those that are no other word without their apostrophe: not it's, we're, I'll, she'll, we'd.
_CONTRACTIONS = {
    word.replace("'", ""): word
    for word in (
        "ain't aren't can't couldn't didn't doesn't don't hadn't hasn't haven't isn't mightn't "
        "mustn't needn't shan't shouldn't wasn't weren't won't wouldn't could've might've "
        "should've would've they've we've you've i've i'm you're they're he's she's that's "
        "there's what's who's where's let's you'll they'll it'll they'd you'd it'd y'all"
    ).split()
}


def plain(text: str) -> str:
    """Lower case, single blanks, no punctuation at the end."""
    return " ".join(text.lower().split()).rstrip(".,;:!? ")


def vqa_plain(text: str) -> str:
    """Lower case without punctuation and articles, numbers as digits, as in the VQA evaluation."""
    text = re.sub(r"(?<=\d),(?=\d)", "", text.lower())  # 1,000 is 1000
    text = re.sub(r"(?<!\d)\.|\.(?!\d)", "", text)  # 3.5 keeps its point
    words = re.sub(r"[^\w\s'.:$%&#*°]|_", " ", text).split()
    kept = (_DIGITS.get(word, word) for word in words if word not in _ARTICLES)
    return " ".join(_CONTRACTIONS.get(word, word) for word in kept)


def exact_match(prediction: str, references: Sequence[str]) -> float:
    """1 if the prediction equals a reference after `plain`, else 0."""
    return float(plain(prediction) in {plain(reference) for reference in references})


def vqa_accuracy(prediction: str, references: Sequence[str]) -> float:
    """Mean over leave-one-out subsets of min(matches / 3, 1), after `vqa_plain` (VQA v2).

    Made for ten references. With fewer than four, all the others have to match instead of three of
    them, and a single reference has to match itself, so that a right answer always scores 1.
    """
    answer, count = vqa_plain(prediction), len(references)
    matches = sum(vqa_plain(reference) == answer for reference in references)
    if count <= 1:
        return float(matches)
    enough = min(3, count - 1)
    without_match = matches * min((matches - 1) / enough, 1.0)
    without_other = (count - matches) * min(matches / enough, 1.0)
    return (without_match + without_other) / count


def rouge_l(prediction: str, references: Sequence[str]) -> float:
    """F1 of the longest common subsequence of words, best reference (Lin 2004, beta = 1)."""
    words = _words(prediction)
    return max((_lcs_f1(words, _words(reference)) for reference in references), default=0.0)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _lcs_f1(one: Sequence[str], other: Sequence[str]) -> float:
    if not one or not other:
        return 0.0
    lengths = [0] * (len(other) + 1)  # of the common subsequence with other[:j], for one[:i] so far
    for word in one:
        diagonal = 0
        for j, candidate in enumerate(other, start=1):
            above = lengths[j]
            lengths[j] = diagonal + 1 if word == candidate else max(above, lengths[j - 1])
            diagonal = above
    return 2 * lengths[-1] / (len(one) + len(other))


@dataclass(frozen=True)
class Metric:
    """How the answers of a task are scored: one example within `range`, higher is better.

    `normalise` is what is done to a text before it is compared: a reference of which nothing is
    left cannot be answered.
    """

    name: str
    description: str
    score: Callable[[str, Sequence[str]], float]
    normalise: Callable[[str], str]
    range: tuple[float, float] = (0.0, 1.0)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "exact_match",
            "share of answers equal to a reference, but for case, blanks and final punctuation",
            exact_match,
            plain,
        ),
        Metric(
            "vqa_accuracy",
            "agreement with ten annotators: three that say the same make an answer right",
            vqa_accuracy,
            vqa_plain,
        ),
        Metric(
            "rouge_l",
            "F1 of the longest common subsequence of words with the best reference",
            rouge_l,
            lambda text: " ".join(_words(text)),
        ),
    )
}


def score_answers(
    metric: str, predictions: Sequence[str], references: Sequence[Sequence[str]]
) -> list[float]:
    """The score of every prediction against its own references."""
    if metric not in METRICS:
        raise unknown("metric", metric, METRICS)
    if len(predictions) != len(references):
        raise InputError(
            f"every prediction needs its references: got {len(predictions)} predictions "
            f"and {len(references)} lists of references"
        )
    score = METRICS[metric].score
    return [score(text, own) for text, own in zip(predictions, references, strict=True)]


def format_compliance(predictions: Sequence[str], answer_set: Collection[str]) -> float:
    """Share of predictions that are answers of the task, right or wrong; NaN if none are given."""
    if not predictions:
        return math.nan
    allowed = {plain(answer) for answer in answer_set}
    return sum(plain(text) in allowed for text in predictions) / len(predictions)
