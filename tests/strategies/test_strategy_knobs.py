"""The declarations of our strategies; tests/test_strategies.py trains them."""

from __future__ import annotations

import importlib
import pkgutil

import pytest
from lively import NAMES, example

import strategies
from spaces import InputError, knobs_of
from spaces.domains import Value
from strategies import STRATEGIES, Strategy, strategy_class
from strategies.testing import StrategyContract, registered

OWN = pytest.mark.parametrize("name", STRATEGIES)


@pytest.mark.parametrize("strategy", [strategy_class(n) for n in NAMES], ids=NAMES)
class TestEveryStrategy(StrategyContract):
    """The contract of a declaration over all strategies, and over some compositions."""

    @pytest.fixture
    def example(self, strategy: type[Strategy]) -> dict[str, Value]:
        return example(strategy.name)


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
def test_the_name_is_the_files(name: str) -> None:
    assert STRATEGIES[name].__module__ == f"strategies.{name}"


@OWN
def test_every_strategy_with_knobs_can_be_switched_off(name: str) -> None:
    assert bool(STRATEGIES[name].off_knobs()) is bool(knobs_of(STRATEGIES[name]))


def test_only_alpha_of_der_has_an_off_value_that_leaves_the_strategy_on() -> None:
    """Allow for DER, which is replay without alpha: tests/strategies/test_der.py."""
    declared = {
        (name, knob)
        for name, cls in STRATEGIES.items()
        for knob, about in knobs_of(cls).items()
        if about.off is not None
    }
    switches = {
        (name, knob) for name, cls in STRATEGIES.items() for way in cls.off_knobs() for knob in way
    }
    assert declared - switches == {("der", "alpha")}


def test_a_second_strategy_of_the_same_name_is_refused() -> None:
    other = type("Other", (Strategy,), {"name": "ewc"})
    with pytest.raises(InputError, match='a name of its own, got "ewc"'), registered(other):
        pass
    assert STRATEGIES["ewc"] is not other
