"""Scores that stand in order, so that a rule finds its cut among ten thousand trials as fast as among ten.

The stock rules sort or go through the scores of all trials whenever one reports.
"""

from __future__ import annotations

import bisect
import math
from collections import UserDict
from typing import Any


class Ranked(UserDict[str, float]):
    """Scores by trial, in the place of the dict of one of stock ASHA's rungs."""

    def __init__(self) -> None:
        self.order: list[float] = []
        super().__init__()

    def __setitem__(self, trial: str, score: float) -> None:
        if trial in self.data and not math.isnan(self.data[trial]):
            del self.order[bisect.bisect_left(self.order, self.data[trial])]
        self.data[trial] = score
        if not math.isnan(score):
            bisect.insort(self.order, score)

    def percentile(self, percent: float) -> float | None:
        """That of the scores that are numbers, as `numpy.nanpercentile` has it; None without any."""
        if not self.order:
            return None
        place = percent / 100 * (len(self.order) - 1)
        low, part = int(place), place % 1
        below, above = self.order[low], self.order[min(low + 1, len(self.order) - 1)]
        step = above - below
        return below + step * part if part < 0.5 else above - step * (1 - part)


class Field:
    """Who scored what at one stage; the median of all is found from the few about the middle."""

    def __init__(self) -> None:
        self._order: list[tuple[float, int, Any]] = []
        self._places: dict[Any, tuple[float, int]] = {}

    def add(self, trial: Any, score: float) -> None:
        """Note a trial's score; one that is no number has no place."""
        if math.isfinite(score):
            place = (score, len(self._places))
            self._places[trial] = place
            bisect.insort(self._order, (*place, trial), key=lambda entry: entry[:2])

    def middle(self, but: Any) -> list[Any]:
        """Some of the other trials, all where they are few, of the same median as all of them."""
        own = self._places.get(but)
        at = bisect.bisect_left(self._order, own, key=lambda e: e[:2]) if own else len(self._order)
        count = len(self._order) - (own is not None)
        near = range(max(0, (count - 1) // 2 - 1), min(count, count // 2 + 2))
        return [self._order[i + (i >= at)][2] for i in near]
