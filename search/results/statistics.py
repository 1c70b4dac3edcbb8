"""Quantiles of Student's t, for intervals over few values."""

from __future__ import annotations

import math


def _probability_within(t: float, df: int) -> float:
    """Return P(-t < T < t) for `df` degrees of freedom (Abramowitz and Stegun 26.7.3, 26.7.4)."""
    angle, odd = math.atan(t / math.sqrt(df)), df % 2
    sine, cosine = math.sin(angle), math.cos(angle)
    term, total = cosine if odd else 1.0, 0.0
    for k in range(df // 2):
        total += term
        term *= cosine**2 * ((2 * k + 2) / (2 * k + 3) if odd else (2 * k + 1) / (2 * k + 2))
    return 2 / math.pi * (angle + sine * total) if odd else sine * total


def t_quantile(level: float, df: int) -> float:
    """Return t with P(-t < T < t) = level, by bisection of the angle whose tangent is t / sqrt(df)."""
    low, high = 0.0, math.pi / 2
    for _ in range(100):
        middle = (low + high) / 2
        reached = _probability_within(math.sqrt(df) * math.tan(middle), df) >= level
        low, high = (low, middle) if reached else (middle, high)
    return math.sqrt(df) * math.tan(low)
