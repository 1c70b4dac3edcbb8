"""Intervals of the paper's claims: those of a confirmation, for seeds that share their orderings."""

from __future__ import annotations

import pytest

from benchmarks.claims.stats import mean
from search.confirmation.estimates import crossed_interval, mean_interval

UNITS = [(seed, ordering) for seed in (1, 2, 3) for ordering in (("a", "b"), ("b", "a"))]


def test_seeds_on_the_same_orderings_have_the_crossed_interval_of_a_confirmation() -> None:
    values = dict(zip(UNITS, (0.3, 0.5, 0.31, 0.52, 0.29, 0.49), strict=True))
    found = mean(values)
    crossed = crossed_interval([[0.3, 0.5], [0.31, 0.52], [0.29, 0.49]])
    assert (found.value, found.low, found.high) == (crossed.estimate, crossed.low, crossed.high)
    assert found.half > 5 * mean_interval(list(values.values())).half  # two orderings, and no more
    less = dict(list(values.items())[:-1])  # no whole grid
    assert mean(less).half == pytest.approx(mean_interval(list(less.values())).half)
