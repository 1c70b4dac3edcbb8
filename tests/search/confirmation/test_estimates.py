"""Intervals over few units, against scipy's own and against their coverage in simulations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from search.confirmation.estimates import (
    crossed_interval,
    holm,
    mean_interval,
    paired_p,
    ratio_interval,
    standard_error,
    t_quantile,
)
from search.confirmation.looks import compare

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


@pytest.mark.parametrize("df", [1, 1.3, 2, 5, 30])
def test_quantiles_of_students_t_are_scipys(df: float) -> None:
    assert t_quantile(0.95, df) == pytest.approx(stats.t.ppf(0.975, df))


# Crossed designs ---------------------------------------------------------------------------------


def test_a_crossed_interval_is_the_one_made_by_hand() -> None:
    # Row means 1, 3; column means 1, 3; rest 0: MS 4, 4, 0, so that Var = 8 / 4 on (8^2) / (4^2 + 4^2) df.
    found = crossed_interval([[0.0, 2.0], [2.0, 4.0]])
    assert (found.estimate, found.df) == (2.0, pytest.approx(2.0))
    assert found.half == pytest.approx(4.3027 * math.sqrt(8 / 4), abs=1e-3)


def test_one_ordering_or_one_seed_is_a_row_of_units() -> None:
    assert crossed_interval([[0.1], [0.2], [0.4]]) == mean_interval([0.1, 0.2, 0.4])
    assert crossed_interval([[0.1, 0.2, 0.4]]) == mean_interval([0.1, 0.2, 0.4])
    for table in ([], [[]]):
        with pytest.raises(ValueError, match="needs rows and columns"):
            crossed_interval(table)


DESIGNS = [(2, 2), (3, 2), (3, 3), (5, 2), (5, 5)]
EFFECTS = [
    (0.04, 0.04, 0.04),
    (0.04, 0.02, 0.02),
    (0.02, 0.02, 0.04),
    (0.0, 0.0, 0.04),
    (0.04, 0.0, 0.01),
]
"""Standard deviations of seed, ordering and rest."""


def crossed_coverage(
    shape: tuple[int, int], effects: tuple[float, float, float]
) -> tuple[float, float]:
    """Return how often the crossed interval covers the mean, and how often Student's interval does."""
    rng, crossed, naive = np.random.default_rng(0), [], []
    for _ in range(TRIES):
        seed, order, rest = (
            rng.normal(0, effects[0], (shape[0], 1)),
            rng.normal(0, effects[1], (1, shape[1])),
            rng.normal(0, effects[2], shape),
        )
        table = 0.3 + seed + order + rest
        for found, covered in (
            (crossed_interval(table.tolist()), crossed),
            (mean_interval(table.ravel().tolist()), naive),
        ):
            covered.append(found.low <= 0.3 <= found.high)
    return float(np.mean(crossed)), float(np.mean(naive))


@pytest.mark.parametrize("shape", DESIGNS)
@pytest.mark.parametrize("effects", EFFECTS)
def test_the_interval_of_a_crossed_design_covers_the_mean(
    shape: tuple[int, int], effects: tuple[float, float, float]
) -> None:
    crossed, naive = crossed_coverage(shape, effects)
    assert crossed >= 0.93
    if min(effects[:2]) >= effects[2]:  # units that share a seed or an ordering are alike
        assert naive < 0.9


def test_a_crossed_design_of_many_seeds_and_orderings_covers_as_it_says() -> None:
    assert crossed_coverage((8, 8), (0.04, 0.04, 0.02))[0] <= 0.97


# Coarse scores -----------------------------------------------------------------------------------

STEP = 1 / 80
"""A mean over four tasks of 20 examples."""


def test_equal_differences_of_few_examples_are_not_sure() -> None:
    assert paired_p([0.1, 0.1, 0.1]) == pytest.approx(0.0, abs=1e-12)
    assert paired_p([STEP] * 3, STEP) == pytest.approx(2 * stats.t.sf(math.sqrt(3), 2))
    assert paired_p([4 * STEP] * 3, STEP) > 0.05
    assert paired_p([20 * STEP] * 3, STEP) < 0.05
    assert paired_p([0.0] * 3, STEP) == 1.0
    assert mean_interval([STEP] * 3, step=STEP).low < 0


def test_a_step_that_is_not_known_makes_equal_differences_one_step() -> None:
    assert standard_error([0.1] * 3, 0.0)[0] == pytest.approx(0.1 / math.sqrt(3))
    assert standard_error([0.1, 0.11, 0.1], 0.0) == standard_error([0.1, 0.11, 0.1])


def test_a_spread_above_that_of_few_examples_is_taken_as_it_is() -> None:
    differences = np.subtract(JOINT, REPLAY).tolist()
    assert paired_p(differences, 1 / 480) == paired_p(differences)


@pytest.mark.parametrize("units", [3, 5])
@pytest.mark.parametrize("discordant", [0.5, 1.0, 2.0, 5.0])
def test_of_equal_finalists_with_coarse_scores_none_is_called_best(
    units: int, discordant: float
) -> None:
    """On each unit, so many examples on average are answered rightly by one finalist alone."""
    rng, tries = np.random.default_rng(units), 4_000
    right = rng.poisson(discordant, (2, tries, units))
    ends = [[], []]
    for one, other in zip(*right, strict=True):
        scores = {"a": (40 + one) * STEP, "b": (40 + other) * STEP}
        for end, step in zip(ends, (STEP, None), strict=True):
            end.append(bool(compare(scores, 1, step).surely_behind))
    assert np.mean(ends[0]) <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / tries)
    assert np.mean(ends[0]) <= np.mean(ends[1])
