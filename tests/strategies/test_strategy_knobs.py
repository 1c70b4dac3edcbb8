"""What every strategy says of itself; what it does is in tests/test_strategies.py."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re

import pytest
import yaml
from lively import NAMES, OFF, lively
from toy import config

import strategies
from spaces import InputError, knobs_of
from spaces.domains import contains
from strategies import STRATEGIES, StageContext, Strategy, strategy_class
from strategies.similarity import MODALITIES
from trainables.config import TrialConfig

OWN = pytest.mark.parametrize("name", STRATEGIES)
EVERY = pytest.mark.parametrize("name", NAMES)


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


@OWN
def test_the_docstring_begins_with_one_sentence(name: str) -> None:
    first, _, rest = STRATEGIES[name].__doc__.partition("\n")
    assert first.endswith((".", ")."))
    assert first[0].isupper()
    assert not rest or rest.startswith("\n")


@OWN
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
    chosen = strategy_class(name)
    for knob in knobs_of(chosen):
        with pytest.raises(InputError, match=rf"{re.escape(name)}\.{knob} must lie in"):
            chosen(**{knob: -1e30})


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
        context = StageContext(("c",), before, dict.fromkeys(MODALITIES, old["old"]))
        assert strategy.effective(context).items() <= strategy.knobs().items()
    assert (strategy.consolidation_knobs() or {}).items() <= strategy.knobs().items()
    assert strategy.routing_knobs().items() <= strategy.knobs().items()
    if len(strategy.curriculum(("a", "b"))) == 2:
        assert strategy.effective(StageContext(("c",))) == {}


def test_every_knob_that_can_be_switched_off_is() -> None:
    known = {
        (name, knob)
        for name, cls in STRATEGIES.items()
        for knob, about in knobs_of(cls).items()
        if about.off is not None
    }
    off = {(name, knob) for name, ways in OFF.items() for way in ways for knob in way}
    assert known - off == {("der", "alpha")}  # replay then: tests/strategies/test_der.py
