"""Looks at a confirmation in simulations with known truth: errors held, and gaps found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from search.confirmation.estimates import pooled_spread
from search.confirmation.looks import ALPHA, ERROR, LOOKS, compare, looks_within

TRIES = 500
SPREAD = 0.05
"""Deviation of the paired difference of two finalists on one unit."""


def left_at_the_end(
    means: Sequence[float],
    units: int,
    rng: np.random.Generator,
    uneven: Sequence[float] | None = None,
) -> list[int]:
    """Return who is left of finalists with these true means, after all looks that are needed.

    `uneven` are factors of their own deviations on a unit.
    """
    luck = rng.normal(0, SPREAD, units)  # what an ordering and a seed do to all of them
    own = rng.normal(0, SPREAD / np.sqrt(2), (len(means), units))
    own *= np.ones((len(means), 1)) if uneven is None else np.asarray(uneven)[:, None]
    cells = np.asarray(means)[:, None] + luck + own
    left, looks, seen = list(range(len(means))), looks_within(units), [0] * len(means)
    for look in looks:
        seen = [look if one in left else units for one, units in enumerate(seen)]
        spread = pooled_spread(row[:units].tolist() for row, units in zip(cells, seen, strict=True))
        scores = {str(one): cells[one, :look].tolist() for one in left}
        found = compare(scores, len(looks), spread=spread)
        left = [one for one in left if str(one) not in found.surely_behind]
        if len(left) == 1:
            break
    return left


@pytest.mark.parametrize("units", [3, 5, 8, 12])
@pytest.mark.parametrize("far", [0, 4])
def test_of_two_equal_finalists_none_is_called_best(units: int, far: int) -> None:
    rng = np.random.default_rng(units)
    means = [0.5, 0.5, *[0.0] * far]
    ends = [left_at_the_end(means, units, rng) for _ in range(TRIES)]
    # Four standard errors of a share of so many tries above the error that is promised.
    assert np.mean([len(left) == 1 for left in ends]) <= ERROR + 4 * np.sqrt(0.05 * 0.95 / TRIES)


@pytest.mark.parametrize("units", [4, 12, 20, 200])
def test_the_levels_hold_wherever_the_last_look_is(units: int) -> None:
    tries, looks = 20_000, looks_within(units)
    cells, rejected = np.random.default_rng(1).normal(size=(tries, units)), np.zeros(tries, bool)
    for look in looks:
        p = stats.ttest_1samp(cells[:, :look], 0, axis=1).pvalue
        rejected |= p < ALPHA[len(looks)]
    assert rejected.mean() <= ERROR + 0.0031  # two standard errors


def test_the_best_is_hardly_ever_dropped_among_equals() -> None:
    rng = np.random.default_rng(0)
    ends = [left_at_the_end([0.5] * 6, 8, rng) for _ in range(TRIES)]
    assert np.mean([0 not in left for left in ends]) <= ERROR
    assert np.mean([len(left) == 1 for left in ends]) <= 0.01


@pytest.mark.parametrize("others", [1, 4])
def test_a_lead_of_two_deviations_of_a_unit_is_found(others: int) -> None:
    rng = np.random.default_rng(others)
    means = [0.5 + 2 * SPREAD, *[0.5] * others]
    ends = [left_at_the_end(means, 8, rng) for _ in range(TRIES)]
    assert np.mean([left == [0] for left in ends]) >= 0.8


def test_nothing_is_told_apart_on_two_units_of_two_finalists() -> None:
    scores = {"a": [0.9, 0.9], "b": [0.1, 0.11]}
    found = compare(scores, 1, spread=pooled_spread(scores.values()))
    assert (found.leader, found.surely_behind, found.together) == ("a", (), ("a", "b"))


@pytest.mark.parametrize(
    ("units", "looks"),
    [(1, (1,)), (3, (3,)), (4, (3, 4)), (8, (3, 5, 8)), (12, LOOKS[1:]), (30, (3, 5, 8, 30))],
)
def test_the_last_look_is_at_the_last_unit(units: int, looks: tuple[int, ...]) -> None:
    assert looks_within(units) == looks
    early = looks_within(units, LOOKS[0])
    assert early == (units,) if units <= 2 else early[0] == 2
    assert (early[-1], len(early) <= len(ALPHA)) == (units, True)
    assert len(looks) in ALPHA
