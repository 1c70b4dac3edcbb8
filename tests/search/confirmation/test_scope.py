"""Scope of a confirmation: in proportion to the search, and never beyond what is asked for."""

from __future__ import annotations

import pytest

from search.confirmation.looks import MIN_UNITS
from search.confirmation.scope import SHARE, confirmation_scope


@pytest.mark.parametrize("stages", [0, 50, 205, 300, 1_000, 10_000])
def test_the_share_of_the_whole_is_kept_unless_the_fewest_units_cost_more(stages: float) -> None:
    scope = confirmation_scope(stages, tasks=4, strategies=4)
    assert scope.looks[0] >= MIN_UNITS
    fewest, most = (scope.finalists + 2) * MIN_UNITS * 4, scope.most_stages(4)
    assert most <= fewest or most <= SHARE * (stages + most)


def test_a_larger_search_pays_for_more_looks_then_a_later_first_one_then_followers() -> None:
    found = {n: confirmation_scope(n, tasks=4, strategies=4) for n in (90, 120, 200, 300, 1_500)}
    assert [scope.looks for scope in found.values()] == [
        (2,), (2, 3), (3, 5), (3, 5, 8), (3, 5, 8, 12)
    ]  # fmt: skip
    assert [scope.finalists for scope in found.values()] == [4, 4, 4, 4, 8]


def test_numbers_that_are_asked_for_are_kept() -> None:
    scope = confirmation_scope(10, tasks=4, strategies=4, finalists=1, units=8)
    assert (scope.finalists, scope.looks, scope.stages) == (1, (3, 5, 8), None)
    assert scope.most_stages(4) == 3 * 8 * 4
