"""The spread that all finalists of a confirmation share."""

from __future__ import annotations

import numpy as np
import pytest

from search.confirmation.estimates import (
    Spread,
    mean_interval,
    paired_p,
    pooled_spread,
    ratio_interval,
)
from search.confirmation.looks import ERROR, POOLED_FACTOR, looks_within
from tests.search.confirmation.test_looks import left_at_the_end

TRIES = 400


def test_of_two_finalists_it_is_the_variance_of_their_difference() -> None:
    a, b = [0.5, 0.6, 0.4], [0.3, 0.5, 0.35]
    found = pooled_spread([a, b])
    assert found is not None and found.df == 2
    assert found.variance == pytest.approx(np.var(np.subtract(a, b), ddof=1))
    assert paired_p(np.subtract(a, b).tolist(), spread=found) == pytest.approx(
        paired_p(np.subtract(a, b).tolist())
    )


def test_it_is_that_of_a_block_design_and_right_on_average() -> None:
    rng = np.random.default_rng(0)
    found = [
        pooled_spread(rng.normal(0, 0.05, (5, 3)) + rng.normal(0, 1, 3) + rng.normal(0, 1, (5, 1)))
        for _ in range(TRIES)
    ]
    assert {one.df for one in found if one} == {8}
    assert np.mean([one.variance for one in found if one]) == pytest.approx(2 * 0.05**2, rel=0.06)


def test_a_finalist_that_dropped_out_counts_with_the_units_that_it_has() -> None:
    scores = [[0.5, 0.6, 0.55], [0.4, 0.52, 0.45], [0.2, 0.29]]
    found = pooled_spread(scores)
    assert found is not None and found.df == 3
    one, other = (pooled_spread([own, scores[2]]) for own in (scores[0], scores[0][:2]))
    assert one is not None and other is not None and one.variance == pytest.approx(other.variance)


def test_equal_finalists_count_once_and_one_unit_tells_nothing() -> None:
    a, b = [0.5, 0.6, 0.4], [0.3, 0.5, 0.35]
    assert pooled_spread([a, b, a]) == pooled_spread([a, b])
    assert pooled_spread([[0.5], [0.4], [0.1]]) is None
    assert pooled_spread([a, a]) is pooled_spread([]) is None


def test_a_pair_that_varies_more_keeps_its_own_spread() -> None:
    differences = [0.1, 0.3, 0.2]
    small, large = Spread(0.01**2, 8), Spread(0.5**2, 8)
    assert mean_interval(differences, spread=small).half < mean_interval(differences).half
    own = mean_interval(differences, spread=Spread(float(np.var(differences, ddof=1)), 8))
    assert mean_interval(differences, spread=small) == own
    assert mean_interval(differences, spread=large).half > own.half


def test_a_share_of_the_gap_is_known_with_two_units() -> None:
    spread = Spread(0.03**2, 8)
    found = ratio_interval([0.3, 0.32], [0.4, 0.38], spread=spread)
    assert found is not None and 0.5 < found.low < found.estimate < found.high < 1
    assert ratio_interval([0.3, 0.32], [0.04, 0.02], spread=spread) is None


@pytest.mark.parametrize("units", [2, 3, 8])
@pytest.mark.parametrize("uneven", [1.0, 1.5])
def test_of_two_equal_finalists_that_vary_more_none_is_called_best(
    units: int, uneven: float
) -> None:
    rng = np.random.default_rng(units)
    ends = [
        left_at_the_end([0.5, 0.5, 0.2, 0.2, 0.1], units, rng, (uneven, uneven, 1, 1, 1))
        for _ in range(TRIES)
    ]
    assert np.mean([len(left) == 1 for left in ends]) <= ERROR + 4 * np.sqrt(0.05 * 0.95 / TRIES)


def test_two_units_find_what_five_finalists_show_to_be_far_apart() -> None:
    rng = np.random.default_rng(0)
    means = [0.5, 0.3, 0.3, 0.2, 0.1]  # the first leads by four deviations of a unit's difference
    ends = [left_at_the_end(means, 2, rng) for _ in range(TRIES)]
    assert np.mean([left == [0] for left in ends]) >= 0.6
    assert looks_within(2) == (2,) and POOLED_FACTOR < 1
