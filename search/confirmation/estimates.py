"""Interval estimates over few units: of a mean, of a ratio of paired means, and of a crossed design.

A unit is a fresh pair of an ordering and a seed that no other unit uses, so that units are exchangeable.
Benchmarks that train every seed on every ordering have crossed units, which are not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

LEVEL = 0.95
"""Level of every interval that is not said to have another."""
NO_SPREAD = 1e-9
"""Standard deviation, relative to the mean, below which values are equal but for rounding."""


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

    @property
    def error(self) -> float:
        """Standard error of the estimate; infinite where nothing is known of it."""
        return self.half / t_quantile(self.level, self.df) if self.df else math.inf

    def __str__(self) -> str:
        return f"{self.estimate:.3f} ({self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True)
class Spread:
    """Variance of the difference of two finalists on one unit, the same for all pairs."""

    variance: float
    df: int
    """Degrees of freedom of its estimate."""

    def is_pooled(self, units: int) -> bool:
        """Return whether it tells more than one pair's own differences on so many units."""
        return self.df > units - 1


def t_quantile(level: float, df: float) -> float:
    """Return t with P(-t < T < t) = level for Student's T; `df` need not be whole."""
    return float(special.stdtrit(df, (1 + level) / 2))


def _around(mean: float, error: float, df: float, level: float) -> Interval:
    half = t_quantile(level, df) * error
    return Interval(mean, mean - half, mean + half, df, level)


def mean_interval(
    values: Sequence[float],
    level: float = LEVEL,
    step: float | None = None,
    spread: Spread | None = None,
) -> Interval:
    """Return Student's interval of the mean of independent values, with n - 1 degrees of freedom.

    One value has an interval without bounds. Differences of two finalists on the same units are
    independent values, too (paired t); `step` and `spread` are then those of `standard_error`.
    """
    count, mean = len(values), float(np.mean(values))
    if count < 2:
        return Interval(mean, -math.inf, math.inf, 0, level)
    return _around(mean, *standard_error(values, step, spread), level)


def standard_error(
    values: Sequence[float], step: float | None = None, spread: Spread | None = None
) -> tuple[float, float]:
    """Return the standard error of the mean of two values or more, and its degrees of freedom.

    `spread`: that of all pairs of finalists, if the values are one pair's differences. The pair's own
    deviation replaces it where that is larger, for this pair may vary more than the others; it then still
    has the degrees of freedom of all, which the level allows for (`looks.POOLED_FACTOR`).
    `step`: what one example adds to a score; None for values that are no scores. A difference of d then
    takes d / step examples at least that one finalist answers right and the other wrong. Their number
    varies as a count does, so that a value varies by sqrt(d step) at least (the variance of McNemar's
    test, 1947). Equal differences of few examples would otherwise be sure. With a step of 0, which is not
    known, differences that are all equal count as one step.
    """
    count, mean = len(values), abs(float(np.mean(values)))
    deviation, df = float(np.std(values, ddof=1)), count - 1
    if spread is not None and spread.is_pooled(count):
        deviation, df = max(deviation, math.sqrt(spread.variance)), spread.df
    if step is not None:
        unknown = step <= 0 and deviation <= NO_SPREAD * mean
        deviation = max(deviation, mean if unknown else math.sqrt(mean * max(0.0, step)))
    return deviation / math.sqrt(count), df


def pooled_spread(columns: Iterable[Sequence[float]]) -> Spread | None:
    """Return the spread by the residuals of score = finalist + unit; None without any to spare.

    Few units tell little of one pair's own spread, and all pairs together tell more: the analysis of a
    randomised block design, whose blocks are the units (Hsu 1996, Multiple Comparisons, chapter 7). Each
    finalist has scores on the first units, as many as it was trained on. Finalists that are equal on all
    units count once.
    """
    scores = list(dict.fromkeys(map(tuple, columns)))
    counts = [len(own) for own in scores]
    if len(counts) < 2 or max(counts) < 2:
        return None
    rows = np.repeat(np.arange(len(counts)), counts)
    units = np.concatenate([np.arange(count) for count in counts])
    design = np.zeros((len(rows), len(counts) + max(counts)))
    design[np.arange(len(rows)), rows] = 1
    design[np.arange(len(rows)), len(counts) + units] = 1
    values = np.concatenate([np.asarray(own, float) for own in scores])
    fit, _, rank, _ = np.linalg.lstsq(design, values, rcond=None)
    df = len(values) - int(rank)
    if df < 1:
        return None
    residuals = values - design @ fit
    return Spread(2 * float(residuals @ residuals) / df, df)


def ratio_interval(
    numerators: Sequence[float],
    denominators: Sequence[float],
    level: float = LEVEL,
    spread: Spread | None = None,
) -> Interval | None:
    """Return Fieller's interval (1954) of the ratio of the means of paired values.

    Both are differences to the same third finalist where a `spread` is given, that of all pairs: they
    then share half of its variance. Returns None where the denominator's own interval reaches 0: then the
    ratio may be anything.
    """
    count = len(numerators)
    if count < 2:
        return None
    above, below = float(np.mean(numerators)), float(np.mean(denominators))
    covariance, df = np.cov(numerators, denominators, ddof=1), count - 1
    if spread is not None and spread.is_pooled(count):
        variance = max(spread.variance, covariance[0, 0], covariance[1, 1])
        covariance, df = variance * np.array([[1.0, 0.5], [0.5, 1.0]]), spread.df
    (var_above, shared), (_, var_below) = covariance / count
    square = t_quantile(level, df) ** 2
    a = below**2 - square * var_below
    if a <= 0:
        return None
    b, c = above * below - square * shared, above**2 - square * var_above
    root = math.sqrt(max(0.0, b * b - a * c))
    return Interval(above / below, (b - root) / a, (b + root) / a, df, level)


def crossed_interval(
    table: Sequence[Sequence[float]] | np.ndarray, level: float = LEVEL
) -> Interval:
    """Return the interval of the mean of a crossed design: a row for each seed, a column an ordering.

    Both are random effects: Var(mean) = (MS_seed + MS_order - MS_rest) / (S O), with Satterthwaite's
    degrees of freedom (1946), and those of the rarer effect at least. Where MS_rest takes away more than
    the smaller effect adds, the larger one alone counts: the difference may be near 0, and would cover
    70 % only. A table of one row or column has Student's interval over the other one.
    Raises `ValueError` for a table without values or with rows of different lengths.
    """
    values = np.asarray(table, dtype=np.float64)
    if values.ndim != 2 or not values.size:
        raise ValueError(f"a crossed design needs rows and columns, got the shape {values.shape}")
    seeds, orders = values.shape
    if min(seeds, orders) < 2:
        return mean_interval(values.ravel().tolist(), level)
    mean, by_seed, by_order = float(values.mean()), values.mean(1), values.mean(0)
    rest = values - by_seed[:, None] - by_order[None, :] + mean
    parts = (
        (orders * float(np.var(by_seed, ddof=1)), seeds - 1),
        (seeds * float(np.var(by_order, ddof=1)), orders - 1),
        (float((rest**2).sum()) / ((seeds - 1) * (orders - 1)), (seeds - 1) * (orders - 1)),
    )
    total, (larger, df) = parts[0][0] + parts[1][0] - parts[2][0], max(parts[:2])
    if total > larger:
        spread = sum(square**2 / own for square, own in parts)
        larger, df = total, max(total**2 / spread, min(seeds, orders) - 1)
    return _around(mean, math.sqrt(larger / values.size), df, level)


def paired_p(
    differences: Sequence[float], step: float | None = None, spread: Spread | None = None
) -> float:
    """Return the two-sided p of a paired t test that the mean difference is 0.

    Returns 1 for fewer than two differences. `step`, `spread`: see `standard_error`; without them, equal
    differences have p 0, or 1 if they are 0.
    """
    if len(differences) < 2:
        return 1.0
    mean, (error, df) = float(np.mean(differences)), standard_error(differences, step, spread)
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return 2 * float(special.stdtr(df, -abs(mean) / error))


def holm(ps: Sequence[float]) -> list[float]:
    """Return Holm's (1979) adjusted p values, in the order given."""
    count, adjusted, worst = len(ps), [0.0] * len(ps), 0.0
    for rank, index in enumerate(sorted(range(count), key=lambda i: ps[i])):
        worst = max(worst, min(1.0, (count - rank) * ps[index]))
        adjusted[index] = worst
    return adjusted
