"""Looks at a confirmation: fixed in advance, and each at a level that holds the error over all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from search.confirmation.estimates import Spread, holm, paired_p

ERROR = 0.05
"""Greatest probability that the best finalist is dropped, over all looks and finalists."""
LOOKS = (2, 3, 5, 8, 12)
"""Units of each finalist after which they are compared."""
ALPHA = {1: 0.05, 2: 0.028, 3: 0.0199, 4: 0.0138}
"""Two-sided level of the test at every look, by the number of looks planned (Pocock 1977).

Pocock's own levels are for equal steps and known variance. These hold `ERROR` for t tests after `LOOKS`,
by simulation; the test of this module simulates them again. The last one also holds it where the fourth
look is after many more units than 12.
"""
POOLED_FACTOR = 0.5
"""Factor of the level where the spread is pooled over all finalists: one pair may vary more than the rest.

With it, one of two equal ones that vary 1.5 times as much as the others is called best in about 5 %, and
with 2.5 times in about 7 % (`benchmarks.calibration.simulate`).
"""
MIN_UNITS = 2
"""Units below which nothing is told apart."""
PREFERRED_UNITS = 3
"""Units of the first look where they are paid for: on fewer, a mean's own interval is wide."""
MIN_DF = 2
"""Degrees of freedom that telling apart takes: those of two finalists on 3 units, or of three on 2."""


@dataclass(frozen=True)
class Comparison:
    """The finalists after some units."""

    leader: str
    """The finalist with the highest mean."""
    adjusted: Mapping[str, float]
    """Adjusted p of the leader's difference to each other finalist that is still in."""
    surely_behind: tuple[str, ...]
    """Finalists whose lead to the leader is no chance."""
    alpha: float = ERROR
    """Level at which each p was tested."""

    @property
    def together(self) -> tuple[str, ...]:
        """The leader and those that are not told apart from it."""
        return (self.leader, *(name for name in self.adjusted if name not in self.surely_behind))


def looks_within(units: int, first: int = PREFERRED_UNITS) -> tuple[int, ...]:
    """Return the looks for so many units at most, from `first` on; the last look is at the last unit.

    There are as many as `ALPHA` has levels for: of more units, the last look alone comes later.
    """
    before = [look for look in LOOKS if first <= look < units]
    return (*before[: len(ALPHA) - 1], units)


def extended(looks: Sequence[int], units: int) -> tuple[int, ...]:
    """Return the looks of a confirmation that is given more units than its last look has."""
    later = [look for look in LOOKS if looks[-1] < look < units]
    return (*[*looks, *later][: len(ALPHA) - 1], units)


def tells(units: int, spread: Spread | None) -> bool:
    """Return whether so many units can tell anything apart."""
    df = spread.df if spread is not None and spread.is_pooled(units) else units - 1
    return units >= MIN_UNITS and df >= MIN_DF


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
    units, alpha = len(scores[leader]), ALPHA[looks]
    if spread is not None and spread.is_pooled(units):
        alpha *= POOLED_FACTOR
    differences = [np.subtract(scores[leader], scores[name]) for name in others]
    told = tells(units, spread)
    ps = [paired_p(one.tolist(), step, spread) if told else 1.0 for one in differences]
    adjusted = dict(zip(others, holm(ps), strict=True))
    behind = tuple(name for name, p in adjusted.items() if p < alpha)
    return Comparison(leader, adjusted, behind, alpha)
