"""The draw of units: fresh, without common beginnings, and the same for the same search."""

from __future__ import annotations

from pathlib import Path

import pytest
from records import ORDERINGS, write_run

from search.confirmation import finalists
from search.confirmation.looks import FEWEST
from search.confirmation.units import draw_units, orderings_left
from search.results.outcome import read_outcome
from spaces.errors import InputError

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


def test_too_few_orderings_are_said() -> None:
    with pytest.raises(InputError, match=r"2 tasks have 1: .*--units 1"):
        draw_units(("a", "b"), [("a", "b")], 2, seed=0)


def test_where_none_is_left_no_number_is_advised() -> None:
    with pytest.raises(InputError, match=r"have 0: fewer orderings in the search would do"):
        draw_units(("a", "b"), [("a", "b"), ("b", "a")], 1, seed=0)


def test_the_units_of_few_tasks_are_those_that_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finalists, "DEFAULT_SHARE", 10)
    outcome = read_outcome(write_run(tmp_path / "run"))  # 3 tasks, and 2 of 6 orderings used
    assert (
        finalists.affordable_units(outcome, finalists=1)
        == orderings_left(TASKS[:3], ORDERINGS)
        == 4
    )
    assert finalists.affordable_units(outcome, finalists=1_000) == FEWEST


def test_many_tasks_are_not_listed() -> None:
    tasks = tuple(f"task{n}" for n in range(12))
    units = draw_units(tasks, [tasks], 12, seed=0)
    assert len({unit.ordering[0] for unit in units}) == 12
