"""The contract that every strategy is under; what only one of them does is in a file of its own."""

from __future__ import annotations

import importlib
import json
import pkgutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import yaml
from toy import Toy, blobs, config, walked

import strategies
from spaces import InputError, knobs_of
from spaces.domains import contains
from strategies import STRATEGIES, Standing, Strategy, strategy_class
from strategies.similarity import MODALITIES
from trainables.config import TrialConfig
from trainables.stages import StageStore
from trainables.walk import Walk

EVERY = pytest.mark.parametrize("name", STRATEGIES)
ORDERINGS = (("hue", "light"), ("light", "hue"))
LIVELY = {
    **{"replay": {"ratio": 0.3}, "der": {"ratio": 0.3}, "a_gem": {"ratio": 0.3}},
    **{"eproj": {"learning_rate": 0.02, "key_steps": 200}},
    **{name: {"importance_batch": 12} for name in ("ewc", "mas", "tir")},
}
"""Knobs whose defaults do nothing on as few examples as the toy has."""


def lively(name: str, **training) -> TrialConfig:
    """A strategy that does something."""
    return config({"name": name, **LIVELY.get(name, {})}, **training)


@pytest.fixture(scope="module")
def walks(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Walk]:
    """Every strategy through two stages in two orders, each in a store of its own."""
    return {
        name: walked(toy.walk(lively(name), tmp_path_factory.mktemp(name), *ORDERINGS))
        for name in STRATEGIES
    }


def kept_records(walk: Walk) -> list[str]:
    """The keys of what the strategy kept of its stages."""
    keys = [path.stem for path in (walk.store.root / "records").rglob("*.json")]
    return sorted(key for key in keys if (walk.store.get(key) or {}).get("kind") == "kept")


# What it says of itself --------------------------------------------------------------------------


def test_every_module_of_strategies_is_in_the_table() -> None:
    modules = {m.name for m in pkgutil.iter_modules(strategies.__path__)}
    found = {name: importlib.import_module(f"strategies.{name}") for name in modules}
    named = {
        value
        for module in found.values()
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Strategy) and hasattr(value, "name")
    }
    assert named == set(STRATEGIES.values())
    assert {cls.__module__.split(".")[1] for cls in named} <= set(found)


def test_an_unknown_strategy_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r'unknown strategy "ewk"; known: .*did you mean "ewc"'):
        strategy_class("ewk")


@EVERY
def test_the_docstring_begins_with_one_sentence(name: str) -> None:
    first, _, rest = STRATEGIES[name].__doc__.partition("\n")
    assert first.endswith((".", ")."))
    assert first[0].isupper()
    assert not rest or rest.startswith("\n")


@EVERY
def test_the_name_is_the_files_and_no_knob_is_called_name(name: str) -> None:
    assert STRATEGIES[name].__module__ == f"strategies.{name}"
    assert "name" not in knobs_of(STRATEGIES[name])


@EVERY
def test_the_defaults_lie_inside_the_domains_and_every_knob_says_what_it_is(name: str) -> None:
    chosen = strategy_class(name)
    for name, knob in knobs_of(chosen).items():
        assert contains(knob.domain, knob.default), name
        assert chosen.defaults()[name] == knob.default
        assert knob.help
    assert chosen(**chosen.defaults()).knobs() == chosen.defaults()


@EVERY
def test_a_knob_outside_its_domain_or_of_no_such_name_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="unknown knob of"):
        config({"name": name, "no_such_knob": 1})
    for knob in knobs_of(STRATEGIES[name]):
        with pytest.raises(InputError, match=f"{name}.{knob} must lie in"):
            STRATEGIES[name](**{knob: -1e30})


@EVERY
def test_a_configuration_survives_json_and_yaml(name: str) -> None:
    before = lively(name)
    for there, back in ((json.dumps, json.loads), (yaml.safe_dump, yaml.safe_load)):
        after = TrialConfig.from_dict(back(there(before.to_dict())))
        assert after == before
        assert after.fresh_strategy() == before.strategy


@EVERY
def test_effective_knobs_are_some_of_its_own_and_none_counts_on_the_first_stage(name: str) -> None:
    strategy = strategy_class(name)()
    for before in ((), (("a",),), (("a", "b"), ("d",))):
        old = {"old": [0.5] * sum(map(len, before))}
        standing = Standing(("c",), before, dict.fromkeys(MODALITIES, old["old"]))
        assert strategy.effective(standing).items() <= strategy.knobs().items()
    assert (strategy.consolidation() or {}).items() <= strategy.knobs().items()
    assert strategy.answering().items() <= strategy.knobs().items()
    if len(strategy.curriculum(("a", "b"))) == 2:
        assert strategy.effective(Standing(("c",))) == {}


# What it does ------------------------------------------------------------------------------------


@EVERY
def test_it_trains_toy_stages_with_finite_weights_that_move(
    name: str, walks: dict[str, Walk]
) -> None:
    walk = walks[name]
    assert len(set(blobs(walk))) == len(walk.paths)
    for stage in walk.stages:
        assert all(w.isfinite().all() for w in walk.store.tensors(stage["key"]).values())
        record = walk.store.get(stage["key"])
        assert record["last_loss"] < record["first_loss"]
    assert max(walk.scores[walk.paths[0]].values()) > max(walk.scores[()].values())


def test_every_strategy_makes_something_else_of_the_second_stage(walks: dict[str, Walk]) -> None:
    seconds = [blobs(walks[name])[1:2] for name in STRATEGIES if len(walks[name].paths) > 1]
    assert len({tuple(second) for second in seconds}) == len(seconds)
    assert len({blobs(walk)[0] for walk in walks.values() if len(walk.paths) > 1}) == 1


@EVERY
def test_a_stage_trained_twice_is_the_same_to_the_last_bit(
    name: str, walks: dict[str, Walk], toy: Toy, tmp_path: Path
) -> None:
    again = walked(toy.walk(lively(name), tmp_path, *ORDERINGS))
    assert all(stage["trained"] for stage in again.stages)
    assert blobs(again) == blobs(walks[name])
    assert again.matrices() == walks[name].matrices()
    for key in kept_records(walks[name]):
        ours, theirs = (walk.store.get(key) for walk in (again, walks[name]))
        assert ours["blob"] == theirs["blob"]


@EVERY
def test_stopped_after_the_first_stage_another_worker_goes_on_to_the_same_end(
    name: str, walks: dict[str, Walk], toy: Toy, tmp_path: Path
) -> None:
    toy.walk(lively(name), tmp_path, *ORDERINGS).step()
    torch.manual_seed(1234)  # a stage depends on nothing that was drawn before
    resumed = walked(toy.walk(lively(name), tmp_path, *ORDERINGS))
    assert [stage["trained"] for stage in resumed.stages][:2] == [False, True][: len(resumed.paths)]
    assert blobs(resumed) == blobs(walks[name])
    assert resumed.matrices() == walks[name].matrices()


@EVERY
@pytest.mark.parametrize("zero", [2, 3])
def test_a_worker_that_served_another_configuration_before_makes_the_same_stages(
    name: str, zero: int, walks: dict[str, Walk], toy: Toy, tmp_path: Path
) -> None:
    runner = toy.walk(config("ewc"), tmp_path).runner
    walked(toy.walk(config("ewc", epochs=1, zero=zero), tmp_path, runner=runner))
    again = walked(toy.walk(lively(name), tmp_path, *ORDERINGS, runner=runner))
    assert blobs(again) == blobs(walks[name])


@EVERY
def test_what_it_keeps_of_a_stage_survives_the_store(name: str, walks: dict[str, Walk]) -> None:
    walk = walks[name]
    keys = kept_records(walk)
    inner = {path for path in walk.inner if path}
    assert len(keys) == (len(inner) if walk.config.strategy.consolidation() is not None else 0)
    reopened = StageStore(walk.store.root)
    for key in keys:
        kept = reopened.tensors(key)
        assert kept
        assert all(value.isfinite().all() for value in kept.values())
        start = reopened.tensors(walk.key((("hue",),)))
        similar = dict.fromkeys(MODALITIES, (0.5,))
        standing = Standing(("light",), (("hue",),), similar)
        walk.config.fresh_strategy().prepare(start, [kept], standing)


# A strategy of a test's own ----------------------------------------------------------------------


@dataclass
class Idle(Strategy):
    """Leaves every hook alone."""

    name = "idle"


def test_a_strategy_that_leaves_the_hooks_alone_is_finetune(
    walks: dict[str, Walk], toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(STRATEGIES, "idle", Idle)
    idle = walked(toy.walk(config("idle"), tmp_path, *ORDERINGS))
    assert blobs(idle) == blobs(walks["finetune"])
    assert idle.matrices() == walks["finetune"].matrices()
    assert [s["key"] for s in idle.stages] == [s["key"] for s in walks["finetune"].stages]
