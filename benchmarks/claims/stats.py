"""Means, paired differences and correlations, each with its 95 % confidence interval.

The intervals of means are those of a confirmation: `search/confirmation/estimates.py`.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from search.confirmation.estimates import LEVEL, crossed_interval, mean_interval

Unit = tuple[int, tuple[str, ...]]
"""A seed and an ordering."""
RESAMPLES = 10_000


@dataclass(frozen=True)
class Interval:
    """A figure and the ends of its interval; NaN where there are too few values for one."""

    value: float
    low: float
    high: float
    count: int
    """Values that it is made of."""
    positive: int = 0
    """Those of them that are above 0."""

    @property
    def above(self) -> bool:
        """Whether all of it lies above 0."""
        return self.low > 0

    @property
    def below(self) -> bool:
        """Whether all of it lies below 0."""
        return self.high < 0

    @property
    def half(self) -> float:
        """Half its width."""
        return (self.high - self.low) / 2


def mean(values: Mapping[Unit, float]) -> Interval:
    """The mean over units and its interval; NaN if any value is, no interval of fewer than two.

    Every seed on every ordering is a crossed design, whose units are not independent. Units that are no
    such grid are taken as independent, by Student's t.
    """
    numbers = list(values.values())
    count, positive = len(numbers), sum(value > 0 for value in numbers)
    if not count or any(math.isnan(value) for value in numbers):
        return Interval(math.nan, math.nan, math.nan, count)
    if count < 2:
        return Interval(numbers[0], math.nan, math.nan, count, positive)
    seeds = [*dict.fromkeys(seed for seed, _ in values)]
    orderings = [*dict.fromkeys(ordering for _, ordering in values)]
    if len(seeds) * len(orderings) == count:
        found = crossed_interval([[values[seed, o] for o in orderings] for seed in seeds])
    else:
        found = mean_interval(numbers)
    return Interval(found.estimate, found.low, found.high, count, positive)


def paired(one: Mapping[Unit, float], other: Mapping[Unit, float]) -> Interval:
    """The mean of one - other over their units; unknown unless both have the same ones."""
    if set(one) != set(other):
        return Interval(math.nan, math.nan, math.nan, len(set(one) & set(other)))
    return mean({unit: one[unit] - other[unit] for unit in one})


def correlation(
    x: Sequence[float], y: Sequence[float], groups: Sequence[Hashable], ranked: bool = False
) -> Interval:
    """Pearson's correlation, or Spearman's if `ranked`, with percentiles of a bootstrap of whole groups.

    A resample is a count for each group, from a fixed seed; resamples without a correlation are left out.
    """
    first, second = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    of = spearman if ranked else pearson
    value = float(of(first, second, np.ones((1, len(first))))[0]) if len(x) > 2 else math.nan
    if math.isnan(value):
        return Interval(value, math.nan, math.nan, len(x))
    names = list(dict.fromkeys(groups))
    member = np.array([names.index(group) for group in groups])
    draws = np.random.default_rng(0).multinomial(
        len(names), np.full(len(names), 1 / len(names)), size=RESAMPLES
    )
    found = of(first, second, draws[:, member].astype(float))
    low, high = np.nanpercentile(found, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return Interval(value, float(low), float(high), len(x))


def pearson(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(samples,): the correlation where each of the values counts `weights` (samples, values) times.

    NaN where either is constant. `x` and `y` are (values,) or (samples, values).
    """
    total = weights.sum(1, keepdims=True)
    x = x - (weights * x).sum(1, keepdims=True) / total
    y = y - (weights * y).sum(1, keepdims=True) / total
    size = np.sqrt((weights * x * x).sum(1) * (weights * y * y).sum(1))
    return np.divide((weights * x * y).sum(1), size, np.full(len(size), np.nan), where=size > 1e-12)


def spearman(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(samples,): the correlation of the ranks, as `pearson`."""
    return pearson(ranks(x, weights), ranks(y, weights), weights)


def ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(samples, values): ranks from 1 where each value counts `weights` times; equal ones share theirs."""
    less, equal = values[:, None] < values[None], values[:, None] == values[None]
    return weights @ less + (weights @ equal + 1) / 2
