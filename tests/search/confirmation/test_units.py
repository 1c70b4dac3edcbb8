"""The draw of units: fresh, without common beginnings, and the same for the same search."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from records import write_run

from search.confirmation.finalists import plan_confirmation
from search.confirmation.scope import Scope
from search.confirmation.units import draw_units, fresh_orderings
from search.plan.search_plan import SearchPlan
from search.results.outcome import read_outcome
from trainables.panel import Panel

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


def test_units_are_orderings_of_the_tasks_held_out_alone(tmp_path: Path) -> None:
    plan = SearchPlan("default", held_out_tasks=("x", "y", "z"))
    outcome = read_outcome(write_run(tmp_path / "run", plan=plan))
    made = plan_confirmation(outcome, [], Scope(1, (6,), None), "training")
    assert len({tuple(unit["ordering"]) for unit in made.units}) == 6
    assert {task for unit in made.units for task in unit["ordering"]} == {"x", "y", "z"}
    assert made.held_out_tasks == ("x", "y", "z")
    assert made.fresh_orderings == 6
    assert plan_confirmation(outcome, [], Scope(1, (7,), None), "training").fresh_orderings == 5


def test_a_search_of_first_stages_is_confirmed_on_whole_orderings(tmp_path: Path) -> None:
    whole = (TASKS, ("c", "a", "d", "b"))
    panel, plan = Panel(tuple(o[:2] for o in whole)), SearchPlan("default", search_stages=2)
    folder = write_run(tmp_path / "run", [], panel, plan=plan, whole_orderings=whole)
    made = plan_confirmation(read_outcome(folder), [], Scope(1, (8,), None), "training")
    orderings = [made.unit(n).ordering for n in range(8)]
    assert all(sorted(ordering) == sorted(TASKS) for ordering in orderings)
    assert not {ordering[:2] for ordering in orderings} & set(panel.orderings)
    assert made.held_out_tasks == ()


def test_beginnings_that_the_search_trained_come_last() -> None:
    """After one stage every first task may be used: such orderings are fresh as a whole."""
    begun = [("a",), ("b",), ("c",)]
    units = draw_units(TASKS, begun, 24, seed=0)
    assert units[0].ordering[0] == "d"
    assert len({unit.ordering for unit in units}) == 24
    assert {unit.ordering[0] for unit in units[:5]} == {*TASKS}
