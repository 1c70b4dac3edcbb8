"""Interval estimates over few units: a mean, a mean of a crossed design, and a ratio of paired means.

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


def crossed_interval(table: Sequence[Sequence[float]], level: float = LEVEL) -> Interval:
    """Return the interval of the mean of a crossed design: a row for each seed, a column an ordering.

    Seeds and orderings are random effects, and Var(mean) = (MS_seed + MS_order - MS_rest) / (S O). The
    degrees of freedom are Satterthwaite's (1946), but no fewer than those of the rarer effect. Two
    orderings leave about one of them, however many seeds there are. Raises `ValueError` for a table of
    less than two rows or columns.
    """
    values = np.asarray(table, dtype=np.float64)
    if values.ndim != 2 or min(values.shape) < 2:
        raise ValueError("a crossed design needs two seeds and two orderings, each with each")
    seeds, orders = values.shape
    mean = float(values.mean())
    by_seed, by_order = values.mean(axis=1), values.mean(axis=0)
    rest = values - by_seed[:, None] - by_order[None, :] + mean
    ms_seed = orders * float(by_seed.var(ddof=1))
    ms_order = seeds * float(by_order.var(ddof=1))
    df_rest = (seeds - 1) * (orders - 1)
    ms_rest = float((rest**2).sum()) / df_rest
    total = ms_seed + ms_order - ms_rest
    if total < ms_rest:  # neither seeds nor orderings spread more than the rest does
        total, df = ms_rest, float(df_rest)
    else:
        parts = ((ms_seed, seeds - 1), (ms_order, orders - 1), (ms_rest, df_rest))
        df = max(total**2 / sum(ms**2 / own for ms, own in parts), min(seeds, orders) - 1)
    half = float(stats.t.ppf((1 + level) / 2, df)) * math.sqrt(total / (seeds * orders))
    return Interval(mean, mean - half, mean + half, df, level)


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
