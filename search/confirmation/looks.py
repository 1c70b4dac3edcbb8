"""Looks at a confirmation: fixed in advance, and each at a level that holds the error over all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from search.confirmation.estimates import holm, paired_p

ERROR = 0.05
"""Greatest probability that the best finalist is dropped, over all looks and finalists."""
LOOKS = (3, 5, 8, 12)
"""Units of each finalist after which they are compared."""
NOMINAL = {1: 0.05, 2: 0.028, 3: 0.0199, 4: 0.0138}
"""Two-sided level of every look, by their number: equal at all looks (Pocock 1977).

Pocock's own levels are for equal steps and known variance. These hold `ERROR` for t tests after `LOOKS`,
by simulation of 400,000 confirmations; the test of this module simulates them again. The last one also
holds it where the fourth look is after many more units than 12.
"""
FEWEST = 3
"""Units below which nothing is told apart."""


@dataclass(frozen=True)
class Comparison:
    """The finalists after some units."""

    leader: str
    """The finalist with the highest mean."""
    adjusted: Mapping[str, float]
    """Adjusted p of the leader's difference to each other finalist that is still in."""
    behind: tuple[str, ...]
    """Finalists that are surely behind the leader."""

    @property
    def together(self) -> tuple[str, ...]:
        """The leader and those that are not told apart from it."""
        return (self.leader, *(name for name in self.adjusted if name not in self.behind))


def looks_within(units: int, looks: Sequence[int] = LOOKS) -> tuple[int, ...]:
    """Return the looks for so many units at most; the last look is at the last unit."""
    before = tuple(look for look in looks[: len(NOMINAL) - 1] if look < units)
    return (*before, units)


def compare(
    scores: Mapping[str, Sequence[float]], looks: int, step: float | None = None
) -> Comparison:
    """Compare finalists by paired differences to the leader on the same units, higher is better.

    The p values are Holm's over the finalists, at Pocock's level for `looks` looks. Because each
    finalist is compared with the leader alone, the choice of the leader needs no correction: the best
    finalist is dropped no more often than that (Hsu 1984, multiple comparisons with the best).
    `step`: how much one example adds to a score; see `standard_error`.
    """
    means = {name: float(np.mean(own)) for name, own in scores.items()}
    leader = max(means, key=lambda name: means[name])
    others = [name for name in scores if name != leader]
    units = len(scores[leader])
    differences = [np.subtract(scores[leader], scores[name]) for name in others]
    ps = [paired_p(one.tolist(), step) if units >= FEWEST else 1.0 for one in differences]
    adjusted = dict(zip(others, holm(ps), strict=True))
    behind = tuple(name for name, p in adjusted.items() if p < NOMINAL[looks])
    return Comparison(leader, adjusted, behind)
