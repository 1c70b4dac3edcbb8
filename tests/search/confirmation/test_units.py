"""The draw of units: fresh, without common beginnings, and the same for the same search."""

from __future__ import annotations

from collections import Counter

from search.confirmation.units import draw_units, fresh_orderings

TASKS = ("a", "b", "c", "d")


def test_units_are_fresh_and_share_nothing() -> None:
    used = [TASKS, ("b", "a", "c", "d")]
    units = draw_units(TASKS, used, 8, seed=0)
    orderings = [unit.ordering for unit in units]
    assert len({*orderings, *used}) == 10
    assert len({unit.seed for unit in units} | {0}) == 9
    assert len({ordering[:1] for ordering in orderings[:4]}) == 4
    assert len({ordering[:2] for ordering in orderings}) == 8


def test_more_units_begin_with_the_same_ones() -> None:
    assert draw_units(TASKS, [TASKS], 8, seed=3)[:3] == draw_units(TASKS, [TASKS], 3, seed=3)
    assert draw_units(TASKS, [TASKS], 3, seed=3) != draw_units(TASKS, [TASKS], 3, seed=4)


def test_where_orderings_run_out_they_are_repeated_at_other_seeds() -> None:
    used = [("a", "b")]
    units = draw_units(("a", "b"), used, 3, seed=0)
    assert [unit.ordering for unit in units] == [("b", "a")] * 3
    assert len({unit.seed for unit in units}) == 3
    assert fresh_orderings(units, used) == 0
    assert fresh_orderings(units[:1], used) == 1


def test_where_the_search_used_every_ordering_units_take_turns() -> None:
    used = [("a", "b"), ("b", "a")]
    units = draw_units(("a", "b"), used, 5, seed=0)
    counts = Counter(unit.ordering for unit in units)
    assert sorted(counts.values()) == [2, 3]
    assert fresh_orderings(units, used) == 0
    assert len({unit.seed for unit in units} | {0}) == 6


def test_many_tasks_are_not_listed() -> None:
    tasks = tuple(f"task{n}" for n in range(12))
    units = draw_units(tasks, [tasks], 12, seed=0)
    assert len({unit.ordering[0] for unit in units}) == 12
