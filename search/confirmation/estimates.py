"""Interval estimates over few units: a mean, and a ratio of paired means.

A unit is a fresh pair of an ordering and a seed that no other unit uses, so that units are exchangeable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.95
"""Level of every interval that is not said to have another."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval."""

    estimate: float
    low: float
    high: float
    df: float
    """Degrees of freedom behind the interval; 0 where nothing is known of its width."""
    level: float = LEVEL

    @property
    def half(self) -> float:
        """Half of the interval's width."""
        return (self.high - self.low) / 2

    def __str__(self) -> str:
        return f"{self.estimate:.3f} ({self.low:.3f} to {self.high:.3f})"


def mean_interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """Return Student's interval of the mean of independent values, with n - 1 degrees of freedom.

    One value has an interval without bounds. Differences of two finalists on the same units are
    independent values, too (paired t).
    """
    count, mean = len(values), float(np.mean(values))
    if count < 2:
        return Interval(mean, -math.inf, math.inf, 0, level)
    error = float(np.std(values, ddof=1)) / math.sqrt(count)
    half = float(stats.t.ppf((1 + level) / 2, count - 1)) * error
    return Interval(mean, mean - half, mean + half, count - 1, level)


def ratio_interval(
    numerators: Sequence[float], denominators: Sequence[float], level: float = LEVEL
) -> Interval | None:
    """Return Fieller's interval (1954) of the ratio of the means of paired values.

    Returns None where the denominator's own interval reaches 0: then the ratio may be anything.
    """
    count = len(numerators)
    if count < 2:
        return None
    above, below = float(np.mean(numerators)), float(np.mean(denominators))
    covariance = np.cov(numerators, denominators, ddof=1) / count
    var_above, var_below, shared = covariance[0, 0], covariance[1, 1], covariance[0, 1]
    square = float(stats.t.ppf((1 + level) / 2, count - 1)) ** 2
    a = below**2 - square * var_below
    if a <= 0:
        return None
    b, c = above * below - square * shared, above**2 - square * var_above
    root = math.sqrt(max(0.0, b * b - a * c))
    return Interval(above / below, (b - root) / a, (b + root) / a, count - 1, level)


def paired_p(differences: Sequence[float]) -> float:
    """Return the two-sided p of a paired t test that the mean difference is 0.

    Returns 1 for fewer than two differences; equal differences have p 0, or 1 if they are 0.
    """
    count = len(differences)
    if count < 2:
        return 1.0
    mean, error = float(np.mean(differences)), float(np.std(differences, ddof=1)) / math.sqrt(count)
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return 2 * float(stats.t.sf(abs(mean) / error, count - 1))


def holm(ps: Sequence[float]) -> list[float]:
    """Return Holm's (1979) adjusted p values, in the order given."""
    count, adjusted, worst = len(ps), [0.0] * len(ps), 0.0
    for rank, index in enumerate(sorted(range(count), key=lambda i: ps[i])):
        worst = max(worst, min(1.0, (count - rank) * ps[index]))
        adjusted[index] = worst
    return adjusted
