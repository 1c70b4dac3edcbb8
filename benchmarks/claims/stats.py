"""Means, paired differences and correlations, each with its 95 % confidence interval."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from search.results.statistics import t_quantile

U = TypeVar("U", bound=Hashable)

LEVEL = 0.95
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


def mean(values: Sequence[float]) -> Interval:
    """The mean and its interval by Student's t; NaN if any value is, no interval of fewer than two."""
    count, positive = len(values), sum(value > 0 for value in values)
    if not count or any(math.isnan(value) for value in values):
        return Interval(math.nan, math.nan, math.nan, count)
    middle = math.fsum(values) / count
    if count < 2:
        return Interval(middle, math.nan, math.nan, count, positive)
    half = t_quantile(LEVEL, count - 1) * float(np.std(values, ddof=1)) / math.sqrt(count)
    return Interval(middle, middle - half, middle + half, count, positive)


def paired(one: Mapping[U, float], other: Mapping[U, float]) -> Interval:
    """The mean of one - other over their units; unknown unless both have the same ones."""
    if set(one) != set(other):
        return Interval(math.nan, math.nan, math.nan, len(set(one) & set(other)))
    return mean([one[unit] - other[unit] for unit in one])


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
