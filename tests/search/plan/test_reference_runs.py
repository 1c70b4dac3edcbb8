"""Reference runs: one each, or tuned over the shared knobs that are searched."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from search.plan.presets import default
from search.plan.reference_runs import reference_runs, runs_per_reference
from search.plan.search_plan import SearchPlan
from search.plan.space import config_space
from spaces.domains import contains


def plan_with(space: dict[str, Any], **fields: Any) -> SearchPlan:
    return dataclasses.replace(default(), space=space, reference_samples=None, **fields)


def runs(plan: SearchPlan) -> dict[str, Any]:
    fixed = {"training": plan.training, "adapter": plan.adapter}
    return reference_runs(plan, config_space(plan.strategies, fixed, plan.space))


def test_without_shared_knobs_each_reference_runs_once() -> None:
    assert list(runs(plan_with({}, samples=40))) == ["finetune", "joint"]


def test_a_reference_has_as_many_runs_as_a_strategy() -> None:
    plan = plan_with({"training.learning_rate": {"low": 1e-4, "high": 1e-2}}, samples=16)
    found = runs(plan)
    assert list(found)[:4] == ["finetune", "finetune-2", "finetune-3", "finetune-4"]
    assert list(found)[4:] == ["joint", "joint-2", "joint-3", "joint-4"]
    assert found["finetune"].training.learning_rate == plan.training["learning_rate"]
    rates = [config.training.learning_rate for config in found.values()]
    assert len(set(rates)) == 4  # the same points for both
    assert all(1e-4 <= rate <= 1e-2 for rate in rates)


def test_a_small_space_is_not_repeated() -> None:
    plan = plan_with({"training.learning_rate": [2e-3, 4e-3], "adapter.rank": [8, 32]}, samples=400)
    found = [config for name, config in runs(plan).items() if name.startswith("finetune")]
    assert len(found) == len({config.shared for config in found}) == 4


@pytest.mark.parametrize(
    ("knob", "domain"),
    [
        ("training.epochs", {"low": 1, "high": 9}),
        ("training.batch_size", {"low": 8, "high": 64, "step": 8}),
        ("training.learning_rate", {"low": 1e-5, "high": 1e-1, "log": True}),
        ("training.warmup", {"low": 0.0, "high": 0.4, "step": 0.1}),
        ("training.clip", {"low": 0.5, "high": 2.0}),
        ("adapter.targets", ["all", "qv"]),
    ],
)
def test_every_kind_of_domain_is_drawn_from_its_own_values(knob: str, domain: Any) -> None:
    part, name = knob.split(".")
    plan = plan_with({knob: domain}, samples=40)
    values = [getattr(getattr(config, part), name) for config in runs(plan).values()]
    fixed = {"training": plan.training, "adapter": plan.adapter}
    space = config_space(plan.strategies, fixed, plan.space)
    assert len(set(values)) > 1
    drawn = [value for value in values if value != values[0]]
    assert all(contains(space.open[part][name], value) for value in drawn)


def test_the_points_depend_on_the_seed_alone() -> None:
    space = {"training.learning_rate": {"low": 1e-4, "high": 1e-2}}
    assert runs(plan_with(space)) == runs(plan_with(space))
    assert runs(plan_with(space)) != runs(plan_with(space, seed=1))


def test_the_number_of_runs_can_be_said() -> None:
    plan = dataclasses.replace(default(), reference_samples=2)
    fixed = {"training": plan.training, "adapter": plan.adapter}
    assert runs_per_reference(plan, config_space(plan.strategies, fixed, plan.space)) == 2
