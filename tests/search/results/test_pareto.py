"""The Pareto front over finished trials, and the choice of the best."""

from __future__ import annotations

from typing import Any

import pytest

from search.results.pareto import choose_best, excluded, pareto_front
from spaces.errors import InputError

OBJECTIVES = (("final_average", "max"), ("forgetting", "min"))


def rows(*values: tuple[str, float | None, float | None], **columns: Any) -> list[dict[str, Any]]:
    count = len(values)
    strategies = columns.get("strategy", ["replay"] * count)
    states = columns.get("state", ["finished"] * count)
    return [
        {
            "name": name,
            "strategy": strategy,
            "state": state,
            "stages_done": 6,
            "stages_total": 6,
            "final_average": final,
            "forgetting": forgetting,
        }
        for (name, final, forgetting), strategy, state in zip(
            values, strategies, states, strict=True
        )
    ]


def test_the_front_holds_the_trials_that_no_other_dominates() -> None:
    table = rows(("a", 0.5, 0.1), ("b", 0.6, 0.2), ("c", 0.5, 0.2), ("d", 0.4, 0.3))
    assert pareto_front(table, OBJECTIVES) == ["b", "a"]


def test_trials_that_tie_are_all_on_the_front() -> None:
    table = rows(("b", 0.5, 0.1), ("a", 0.5, 0.1), ("c", 0.5, 0.2))
    assert pareto_front(table, OBJECTIVES) == ["a", "b"]
    assert choose_best(table, OBJECTIVES) == "a"


@pytest.mark.parametrize("nothing", [None, float("nan")])
def test_a_trial_with_an_undefined_objective_is_excluded_with_a_reason(nothing: Any) -> None:
    table = rows(("a", 0.9, nothing), ("b", 0.5, 0.1))
    assert pareto_front(table, OBJECTIVES) == ["b"]
    assert excluded(table, OBJECTIVES) == {"a": "forgetting undefined"}


def test_joint_tuning_and_unfinished_trials_are_excluded_from_the_front() -> None:
    table = rows(
        ("joint", 0.9, 0.0),
        ("s", 0.95, 0.0),
        ("b", 0.5, 0.1),
        strategy=["joint", "replay", "replay"],
        state=["finished", "stopped", "finished"],
    )
    assert pareto_front(table, OBJECTIVES) == ["b"]
    reasons = excluded(table, OBJECTIVES)
    assert reasons["s"] == "stopped after 6 of 6 stages"
    assert "reference" in reasons["joint"]


def test_the_best_is_chosen_by_the_first_objective_or_the_one_named() -> None:
    table = rows(("a", 0.5, 0.1), ("b", 0.6, 0.2))
    assert choose_best(table, OBJECTIVES) == "b"
    assert choose_best(table, OBJECTIVES, by="forgetting") == "a"
    with pytest.raises(InputError, match='did you mean "forgetting"'):
        choose_best(table, OBJECTIVES, by="forgeting")


def test_without_a_finished_trial_there_is_no_best() -> None:
    table = rows(("a", 0.5, 0.1), state=["failed"])
    with pytest.raises(InputError, match="a failed after 6 of 6 stages"):
        choose_best(table, OBJECTIVES)
    with pytest.raises(InputError, match="no trial yet"):
        choose_best([], OBJECTIVES)
