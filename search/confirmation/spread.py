"""Spread of paired differences, estimated from all finalists on all of their units."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Spread:
    """Variance of the difference of two finalists on one unit, the same for all pairs."""

    variance: float
    df: int
    """Degrees of freedom of its estimate."""


def common_spread(columns: Iterable[Sequence[float]]) -> Spread | None:
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
