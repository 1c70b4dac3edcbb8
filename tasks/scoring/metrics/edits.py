"""Answers compared by edit distance: ANLS, and the nearest of a set of answers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from functools import lru_cache

from tasks.scoring.metrics.texts import plain

THRESHOLD = 0.5
"""Share of a text that may differ; beyond it an answer is another answer, not one misspelt."""


def distance(one: str, other: str, most: float = math.inf) -> int:
    """Levenshtein: the fewest letters to put in, to take out or to change.

    Where it is beyond `most`, some number beyond `most`, for which not all letters are looked at.
    """
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, start=1):
        diagonal, row[0] = row[0], i
        for j, candidate in enumerate(other, start=1):
            above = row[j]
            change = diagonal + (letter != candidate)
            row[j] = min(change, above + 1, row[j - 1] + 1)
            diagonal = above
        if min(row) > most:  # and no later row has less
            return min(row)
    return row[-1]


def apart(one: str, other: str, most: float = 1.0) -> float:
    """The distance as a share of the longer text, from 0 (equal) to 1; beyond `most`, some such share."""
    longer = max(len(one), len(other))
    return distance(one, other, most * longer) / longer if longer else 0.0


def anls(prediction: str, references: Sequence[str]) -> float:
    """1 less the share that differs from the nearest reference; 0 if half of it or more does.

    Average normalised Levenshtein similarity (Biten et al. 2019), as the package `anls` computes it:
    case, and blanks at the ends or in a row, do not count.
    """
    said = anls_plain(prediction)
    best = max((1 - apart(said, anls_plain(r)) for r in references), default=0.0)
    return best if best > 1 - THRESHOLD else 0.0


def anls_plain(text: str) -> str:
    """Lower case, single blanks."""
    return " ".join(text.lower().split())


def nearest(prediction: str, answers: Collection[str]) -> str | None:
    """The answer nearest to a prediction after `plain`; None if two are, or if none is near.

    Near is: no more than half of the longer text differs.
    """
    said = plain(prediction)
    forms = {plain(answer): answer for answer in answers}
    bounds = sorted((_at_least(said, form), form) for form in forms)
    least, found = THRESHOLD, []
    for bound, form in bounds:
        if bound > least:  # and so are all after it
            break
        share = apart(said, form, least)
        if share <= least:
            found = [*found, form] if share == least else [form]
            least = share
    return forms[found[0]] if said and len(found) == 1 else None


def _at_least(one: str, other: str) -> float:
    """A share that `apart` is never below: letters that one text has and the other has not."""
    longer, shorter = max(len(one), len(other), 1), min(len(one), len(other))
    if longer - shorter > THRESHOLD * longer:  # known at once of most long answers
        return (longer - shorter) / longer
    ours, others = _letters(one), _letters(other)
    return max((ours - others).total(), (others - ours).total()) / longer


@lru_cache(maxsize=1 << 14)
def _letters(text: str) -> Counter[str]:
    return Counter(text)
