"""Warnings about a plan: what was given and does nothing is said."""

from __future__ import annotations

from dataclasses import replace

from search.plan.plan_warnings import idle_knobs
from search.plan.presets import default


def test_knobs_of_strategies_that_are_not_searched_are_named() -> None:
    plan = replace(default(), strategies=("replay+lwf",))
    assert not idle_knobs(plan)
    given = {"ewc.strength": {"low": 1, "high": 2}, "lwf.strength": 1.0, "adapter.rank": [8, 16]}
    given |= {"replay.ratio": {"low": 0.1, "high": 0.2}, "joint.x": 1}
    assert idle_knobs(replace(plan, space={**plan.space, **given})) == ["ewc.strength"]
