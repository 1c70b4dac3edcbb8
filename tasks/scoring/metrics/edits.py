"""Answers compared by edit distance: ANLS, and the nearest of a set of answers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from functools import lru_cache

from tasks.scoring.metrics.texts import plain

THRESHOLD = 0.5
"""Share of a text that may differ in a misspelt answer; beyond it, the answer is another one."""


def distance(one: str, other: str, most: float = math.inf) -> int:
    """Return the Levenshtein distance: the fewest letters to insert, delete or change.

    A distance beyond `most` may be returned as any number beyond `most`, which saves time. All of `one` is
    advanced at once, as bits of numbers that say where a row of distances rises or falls (Myers 1999).
    """
    if not one:
        return len(other)
    places: dict[str, int] = {}
    for place, letter in enumerate(one):
        places[letter] = places.get(letter, 0) | 1 << place
    full, last = (1 << len(one)) - 1, 1 << (len(one) - 1)
    rises, falls, found = full, 0, len(one)
    for rest, letter in zip(range(len(other) - 1, -1, -1), other, strict=True):
        same = places.get(letter, 0)
        across = (((same & rises) + rises) ^ rises) | same
        up, down = falls | (full & ~(across | rises)), rises & across
        found += bool(up & last) - bool(down & last)
        if found - rest > most:  # each letter left can lower it by one
            return found - rest
        same |= falls
        up, down = (up << 1) | 1, down << 1
        rises, falls = (down | ~(same | up)) & full, up & same & full
    return found


def distance_share(one: str, other: str, most: float = 1.0) -> float:
    """Return the distance as a share of the longer text, from 0 (equal) to 1; see `distance` for `most`."""
    longer = max(len(one), len(other))
    return distance(one, other, most * longer) / longer if longer else 0.0


def anls(prediction: str, references: Sequence[str]) -> float:
    """Score 1 less the share that differs from the nearest reference; 0 if half or more differs.

    Average normalised Levenshtein similarity (Biten et al. 2019), as the package `anls` computes it:
    case, and blanks at the ends or in a row, do not count.
    """
    text = anls_plain(prediction)
    shares = (_near_share(text, anls_plain(reference)) for reference in references)
    best = max((1 - share for share in shares), default=0.0)
    return best if best > 1 - THRESHOLD else 0.0


def _near_share(one: str, other: str) -> float:
    """Return `distance_share`, or 1 for lengths that differ too much: long answers take no time then."""
    longer, shorter = max(len(one), len(other)), min(len(one), len(other))
    far = longer - shorter > THRESHOLD * longer
    return 1.0 if far else distance_share(one, other, THRESHOLD)


def anls_plain(text: str) -> str:
    """Normalise to lower case and single blanks."""
    return " ".join(text.lower().split())


def nearest(prediction: str, answers: Collection[str]) -> str | None:
    """Return the answer nearest to a prediction after `plain`; None if two are, or if none is near.

    An answer is near if at most half of the longer text differs.
    """
    text = plain(prediction)
    forms = {plain(answer): answer for answer in answers}
    bounds = sorted((_at_least(text, form), form) for form in forms)
    least, closest = THRESHOLD, []
    for bound, form in bounds:
        if bound > least:  # and so are all after it
            break
        share = distance_share(text, form, least)
        if share <= least:
            closest = [*closest, form] if share == least else [form]
            least = share
    return forms[closest[0]] if text and len(closest) == 1 else None


def _at_least(one: str, other: str) -> float:
    """Return a lower bound of `distance_share`, from the letters that only one of the texts has."""
    longer, shorter = max(len(one), len(other), 1), min(len(one), len(other))
    if longer - shorter > THRESHOLD * longer:  # known at once of most long answers
        return (longer - shorter) / longer
    ours, others = _letters(one), _letters(other)
    return max((ours - others).total(), (others - ours).total()) / longer


@lru_cache(maxsize=1 << 14)
def _letters(text: str) -> Counter[str]:
    return Counter(text)
