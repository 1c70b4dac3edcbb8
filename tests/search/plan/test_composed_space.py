"""Compositions, balanced budgets and initial tasks of a plan."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.distributions import FloatDistribution
from toy import TRAINING, Toy

from search.cli import parser, plan_from_flags
from search.plan.checks import check_budget, check_experts, check_settings, searched_strategies
from search.plan.plan_warnings import plan_warnings
from search.plan.presets import PLANS, SEARCHED
from search.plan.resolve import resolve_plan
from search.plan.resolved_plan import ResolvedPlan
from search.plan.saved_plan import record_plan
from search.plan.search_plan import SearchPlan
from search.plan.space import config_space
from search.resources.stage_counts import reference_keys
from search.tuning.searcher import StudySearcher
from spaces import InputError, knobs_of
from strategies import STRATEGIES

OBJECTIVES = [("final_average", "max"), ("forgetting", "min")]


def space(*names: str, adapter: dict | None = None, **domains):
    named = {name.replace("__", "."): spec for name, spec in domains.items()}
    return config_space(names, {"training": TRAINING, "adapter": adapter or {}}, named)


# Compositions ------------------------------------------------------------------------------------


def test_a_composition_is_a_branch_of_its_own_with_the_knobs_of_its_parts() -> None:
    branches = space("replay", "replay+ewc").open["strategy"].branches
    assert set(branches["replay+ewc"]) == {"replay_ratio", "ewc_strength", "ewc_decay"}
    config = space("replay+ewc").reference("replay+ewc")
    assert (
        config.strategy.knobs()["ewc_strength"] == knobs_of(STRATEGIES["ewc"])["strength"].default
    )


def test_a_strategys_domain_holds_in_its_compositions() -> None:
    found = space("replay+ewc", replay__ratio={"low": 0.1, "high": 0.2}, ewc__decay=0.5)
    branch = found.open["strategy"].branches["replay+ewc"]
    assert branch["replay_ratio"] == FloatDistribution(0.1, 0.2, log=True)
    assert "ewc_decay" not in branch
    assert found.reference("replay+ewc").strategy.knobs()["ewc_decay"] == 0.5


def test_a_composition_may_have_a_domain_of_its_own() -> None:
    domains = {"replay+ewc.ewc_decay": 0.25, "ewc.decay": 0.5}
    otherwise = {"ewc + replay.ewc_decay": 0.25, "ewc.decay": 0.5}
    for ordered in (domains, dict(reversed(domains.items())), otherwise):
        found = config_space(("ewc", "replay+ewc"), {}, ordered)
        assert found.reference("replay+ewc").strategy.knobs()["ewc_decay"] == 0.25
        assert found.reference("ewc").strategy.knobs()["decay"] == 0.5


@pytest.mark.parametrize(
    ("strategies", "message"),
    [
        (("replay+finetune",), "strategies that do something, got .* with finetune"),
        (("replay+replay",), "different strategies"),
        (("replay+ewk",), 'did you mean "ewc"'),
        (("joint",), r"at least one strategy must be searched .* joined by \+"),
    ],
)
def test_strategies_that_exclude_each_other_are_one_clear_error(strategies, message: str) -> None:
    with pytest.raises(InputError, match=message):
        searched_strategies(SearchPlan("p", strategies=strategies))


def test_an_unknown_knob_of_an_unsearched_strategy_is_an_error() -> None:
    with pytest.raises(InputError, match='unknown knob of ewc "strenght"'):
        space("replay", ewc__strenght=1.0)


def test_experts_need_a_frozen_vision_tower() -> None:
    trained = {"parts": "connector+vision_lora"}
    check_experts(space("eproj", adapter=trained))
    with pytest.raises(InputError, match=r"vision_lora.*the projection alone would do"):
        check_experts(space("eproj", adapter=trained, eproj__expert="trained"))
    for name in ("eproj", "replay+eproj"):
        with pytest.raises(InputError, match=re.escape(f"{name} needs a vision tower")):
            check_experts(space(name, adapter=trained, eproj__expert=["projection", "trained"]))


def test_experts_adapters_are_among_those_that_are_checked() -> None:
    parts = {adapter.parts for adapter in space("eproj", adapter={"parts": "lm_lora"}).adapters()}
    assert parts == {"lm_lora", "projection"}


# Balanced budgets --------------------------------------------------------------------------------


def proposed(run: Path, samples: int, count: int) -> list[str]:
    """Return the strategies of the next `count` proposals."""
    run.mkdir(exist_ok=True)
    names = ("replay", "ewc", "lwf")
    found = StudySearcher(space(*names), OBJECTIVES, run, 0, samples, {}, balanced=True)
    said = []
    for number in range(count):
        given = found.suggest(f"{run.name}{number}")
        said.append(given["trial"]["strategy"]["name"])
        values = {"final_average": number / 9, "forgetting": 0.1}
        found.on_trial_complete(f"{run.name}{number}", {"state": "finished", **values})
    assert found.trials_left() == max(0, samples - len(found.study.trials) + waiting(found))
    return said


def waiting(found: StudySearcher) -> int:
    return sum(not trial.state.is_finished() for trial in found.study.trials)


def test_a_balanced_search_gives_every_strategy_as_many_trials(tmp_path: Path) -> None:
    assert Counter(proposed(tmp_path / "a", 9, 9)) == {"replay": 3, "ewc": 3, "lwf": 3}


def test_a_balanced_search_that_is_resumed_or_given_more_stays_balanced(tmp_path: Path) -> None:
    first = proposed(tmp_path / "a", 6, 4)
    second = proposed(tmp_path / "a", 6, 2)
    third = proposed(tmp_path / "a", 9, 3)
    assert Counter(first + second) == {"replay": 2, "ewc": 2, "lwf": 2}
    assert Counter(third) == {"replay": 1, "ewc": 1, "lwf": 1}


def test_samples_left_over_of_a_balanced_search_go_to_the_first_strategies(tmp_path: Path) -> None:
    assert Counter(proposed(tmp_path / "a", 8, 8)) == {"replay": 3, "ewc": 3, "lwf": 2}
    assert Counter(proposed(tmp_path / "b", 2, 2)) == {"replay": 1, "ewc": 1}


@pytest.mark.parametrize("halving", [1, -2])
def test_a_reduction_factor_that_reduces_nothing_is_an_error(halving: int) -> None:
    with pytest.raises(InputError, match=rf"halving must be 0 .* or at least 2, got {halving}"):
        check_settings(SearchPlan("p", halving=halving))
    for allowed in (0, 2, 3):
        check_settings(SearchPlan("p", halving=allowed))


# Initial tasks -----------------------------------------------------------------------------------


@pytest.fixture
def resolved(toy: Toy, tmp_path: Path) -> Callable[..., ResolvedPlan]:
    """Return a function that resolves plans on the toy, whose benchmark has an initial task."""
    file = tmp_path / "tasks.yaml"
    text = (toy.benchmark / "benchmark.yaml").read_text().replace("- half\n", "", 1)
    paths = {
        f"  {task}:\n": f"  {task}:\n    path: {toy.benchmark / task}\n"
        for task in ("hue", "light", "half")
    }
    for old, new in paths.items():
        text = text.replace(old, new)
    file.write_text(text + "initial: [half]\n")

    def make(**fields) -> ResolvedPlan:
        plan = SearchPlan(
            "p", benchmark=str(file), model=str(toy.model), training=TRAINING, **fields
        )
        return resolve_plan(plan, "s", tmp_path / "results", resume=False)

    return make


def test_initial_tasks_are_trained_before_unless_the_plan_says_otherwise(resolved) -> None:
    made = {how: resolved(initial=how) for how in ("trained", "known", "none")}
    assert [made[how].panel.initial for how in made] == [("half",), ("half",), ()]
    assert [made[how].panel.first for how in made] == [("half",), (), ()]
    assert set(made["known"].fingerprints.tasks) == {"hue", "light", "half"}
    keys = {how: reference_keys(made[how], "finetune") for how in made}
    assert len(keys["trained"]) == len(keys["known"]) + 1
    assert record_plan(made["trained"]).panel.initial == ("half",)


def test_importances_of_known_tasks_are_said_to_protect_half_of_lora(resolved) -> None:
    def said(**fields) -> list[str]:
        notes = plan_warnings(resolved(**fields))
        return [note.partition(":")[0] for note in notes if "matrix B of LoRA" in note]

    names = ("replay", "ewc", "mas", "tir", "replay+ewc")
    lora = {"strategies": names, "samples": 9, "adapter": {"parts": "connector+lm_lora"}}
    assert said(initial="known", **lora) == ["ewc, mas, tir, replay+ewc"]
    assert not said(initial="trained", **lora)
    assert not said(initial="none", **lora)
    assert not said(initial="known", **lora | {"strategies": ("replay", "lwf")})
    assert not said(initial="known", **lora | {"adapter": {"parts": "connector"}})
    searched = {"adapter.parts": ["connector", "connector+lm_lora"]}
    assert said(initial="known", **lora | {"adapter": {}, "space": searched})


def test_initial_tasks_are_not_learned_again(resolved) -> None:
    with pytest.raises(InputError, match="initial tasks are not learned again, got half"):
        resolved(tasks=("hue", "half"))
    assert resolved(tasks=("hue", "half"), initial="none").panel.tasks == ("half", "hue")


def test_metrics_of_initial_tasks_need_initial_tasks(resolved) -> None:
    objectives = ("final_average", "initial_forgetting")
    assert resolved(objectives=objectives).panel.initial
    with pytest.raises(InputError, match="need tasks that were learned before"):
        resolved(objectives=objectives, initial="none")


def test_a_missing_sentence_encoder_is_found_before_anything_starts(
    resolved, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="text_encoder must be a folder"):
        resolved(text_encoder=str(tmp_path / "nowhere"))


def test_flags_name_initial_tasks_and_the_encoder(tmp_path: Path) -> None:
    flags = ["--initial", "known", "--text-encoder", str(tmp_path)]
    plan = plan_from_flags(parser().parse_args(flags), None)
    assert (plan.initial, plan.text_encoder) == ("known", str(tmp_path))


# Presets of the paper's benchmarks ---------------------------------------------------------------


def test_the_papers_presets_search_every_strategy_with_an_equal_budget() -> None:
    assert set(SEARCHED) == set(STRATEGIES) - {"finetune", "joint"}
    for name, model, count, initial in (
        ("mini_1", "llava-aligned", 5, "none"),
        ("mini_2", "llava-instructed", 4, "known"),
    ):
        plan = PLANS[name]()
        assert (plan.model, len(plan.tasks), plan.initial) == (model, count, initial)
        assert plan.balanced
        assert plan.stopping == "none"
        assert searched_strategies(plan) == SEARCHED
        check_budget(plan)
        check_settings(plan)
