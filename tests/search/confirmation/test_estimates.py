"""Intervals over few units, against scipy's own and against their coverage in simulations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from search.confirmation.estimates import (
    holm,
    mean_interval,
    paired_p,
    ratio_interval,
)

TRIES = 1_000
JOINT = (0.513, 0.562, 0.550, 0.518, 0.564, 0.508)
REPLAY = (0.498, 0.462, 0.411, 0.496, 0.501, 0.528)


def test_the_paired_test_is_scipys() -> None:
    differences = np.subtract(JOINT, REPLAY).tolist()
    expected = stats.ttest_rel(JOINT, REPLAY)
    bounds = expected.confidence_interval(0.95)
    found = mean_interval(differences)
    assert found.estimate == pytest.approx(0.0532, abs=1e-4)
    assert (found.low, found.high) == (pytest.approx(bounds.low), pytest.approx(bounds.high))
    assert paired_p(differences) == pytest.approx(expected.pvalue)


def test_one_unit_says_nothing_of_its_spread() -> None:
    one = mean_interval([0.4])
    assert (one.estimate, one.low, one.high, one.df) == (0.4, -math.inf, math.inf, 0)
    assert paired_p([0.4]) == 1.0
    assert ratio_interval([0.1], [0.2]) is None


@pytest.mark.parametrize(("differences", "p"), [([0.0, 0.0, 0.0], 1.0), ([0.1, 0.1, 0.1], 0.0)])
def test_equal_differences_have_a_p(differences: list[float], p: float) -> None:
    assert paired_p(differences) == pytest.approx(p, abs=1e-12)


def test_holms_p_values_are_those_of_the_textbook() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize("units", [2, 3, 5, 8])
def test_the_interval_of_a_mean_covers_it(units: int) -> None:
    rng = np.random.default_rng(units)
    found = [mean_interval(rng.normal(0.3, 0.05, units).tolist()) for _ in range(TRIES)]
    assert 0.93 <= np.mean([one.low <= 0.3 <= one.high for one in found]) <= 0.97


def test_fiellers_interval_covers_the_share_of_a_gap() -> None:
    rng, covered = np.random.default_rng(0), []
    for _ in range(TRIES):
        unit = rng.normal(0, 0.03, 6)
        gain = 0.2 + unit + rng.normal(0, 0.02, 6)
        gap = 0.4 + unit + rng.normal(0, 0.02, 6)
        found = ratio_interval(gain.tolist(), gap.tolist())
        assert found is not None
        covered.append(found.low <= 0.5 <= found.high)
    assert 0.93 <= np.mean(covered) <= 0.97


def test_no_share_of_a_gap_that_may_be_none() -> None:
    assert ratio_interval([0.1, 0.2, 0.1], [0.1, -0.1, 0.2]) is None
