"""Answers compared by edit distance: ANLS, and the nearest of a set of answers."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tasks.metrics.texts import plain

THRESHOLD = 0.5
"""Share of a text that may differ; beyond it an answer is another answer, not one misspelt."""


def distance(one: str, other: str) -> int:
    """Levenshtein: the fewest letters to put in, to take out or to change."""
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, start=1):
        diagonal, row[0] = row[0], i
        for j, candidate in enumerate(other, start=1):
            above = row[j]
            change = diagonal + (letter != candidate)
            row[j] = min(change, above + 1, row[j - 1] + 1)
            diagonal = above
    return row[-1]


def apart(one: str, other: str) -> float:
    """The distance as a share of the longer text, from 0 (equal) to 1."""
    longer = max(len(one), len(other))
    return distance(one, other) / longer if longer else 0.0


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
    shares = {answer: _share_below(said, plain(answer)) for answer in answers}
    least = min(shares.values(), default=1.0)
    found = [answer for answer, share in shares.items() if share == least]
    if least > THRESHOLD or len({plain(answer) for answer in found}) > 1:
        return None
    return found[0] if found and said else None


def _share_below(one: str, other: str) -> float:
    """`apart`, or 1 where the lengths alone say that it is beyond the threshold."""
    longer = max(len(one), len(other))
    if abs(len(one) - len(other)) > THRESHOLD * longer:
        return 1.0
    return apart(one, other)
