"""Looks at a confirmation: fixed in advance, and each at a level that holds the error over all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from search.confirmation.estimates import holm, paired_p
from search.confirmation.spread import Spread

ERROR = 0.05
"""Greatest probability that the best finalist is dropped, over all looks and finalists."""
LOOKS = (2, 3, 5, 8, 12)
"""Units of each finalist after which they are compared."""
NOMINAL = {1: 0.05, 2: 0.028, 3: 0.0199, 4: 0.0138}
"""Two-sided level of every look, by their number: equal at all looks (Pocock 1977).

Pocock's own levels are for equal steps and known variance. These hold `ERROR` for t tests after `LOOKS`,
by simulation of 400,000 confirmations; the test of this module simulates them again. The last one also
holds it where the fourth look is after many more units than 12.
"""
COMMON = 0.5
"""Factor of the level where the spread is that of all pairs: a pair of its own may vary more.

`benchmarks.calibration.simulate` does so with pairs that vary up to 2.5 times as much as the others.
"""
FEWEST = 2
"""Units below which nothing is told apart."""
SURE = 3
"""Units of the first look where they are paid for: on fewer, a mean's own interval is wide."""
FEWEST_FREE = 2
"""Degrees of freedom below which nothing is: those of two on `SURE` units, or of three on `FEWEST`."""


@dataclass(frozen=True)
class Comparison:
    """The finalists after some units."""

    leader: str
    """The finalist with the highest mean."""
    adjusted: Mapping[str, float]
    """Adjusted p of the leader's difference to each other finalist that is still in."""
    behind: tuple[str, ...]
    """Finalists that are surely behind the leader."""
    level: float = ERROR
    """Level at which each p was tested."""

    @property
    def together(self) -> tuple[str, ...]:
        """The leader and those that are not told apart from it."""
        return (self.leader, *(name for name in self.adjusted if name not in self.behind))


def looks_within(units: int, first: int = SURE) -> tuple[int, ...]:
    """Return the looks for so many units at most, from `first` on; the last look is at the last unit."""
    before = [look for look in LOOKS if first <= look < units]
    return (*before[: len(NOMINAL) - 1], units)


def tells(units: int, spread: Spread | None) -> bool:
    """Return whether so many units can tell anything apart."""
    return units >= FEWEST and max(units - 1, spread.df if spread else 0) >= FEWEST_FREE


def compare(
    scores: Mapping[str, Sequence[float]],
    looks: int,
    step: float | None = None,
    spread: Spread | None = None,
) -> Comparison:
    """Compare finalists by paired differences to the leader on the same units, higher is better.

    The p values are Holm's over the finalists, at Pocock's level for `looks` looks. Because each
    finalist is compared with the leader alone, the choice of the leader needs no correction: the best
    finalist is dropped no more often than that (Hsu 1984, multiple comparisons with the best).
    `step`, the worth of one example, and `spread`, that of all finalists: see `standard_error`.
    """
    means = {name: float(np.mean(own)) for name, own in scores.items()}
    leader = max(means, key=lambda name: means[name])
    others = [name for name in scores if name != leader]
    units, level = len(scores[leader]), NOMINAL[looks]
    if spread is not None and spread.df > units - 1:
        level *= COMMON
    differences = [np.subtract(scores[leader], scores[name]) for name in others]
    told = tells(units, spread)
    ps = [paired_p(one.tolist(), step, spread) if told else 1.0 for one in differences]
    adjusted = dict(zip(others, holm(ps), strict=True))
    behind = tuple(name for name, p in adjusted.items() if p < level)
    return Comparison(leader, adjusted, behind, level)
