"""Contract tests of a strategy's declaration, for strategies inside and outside this checkout.

`trainables.testing.contract.TrainedStrategyContract` adds the tests that train.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterator
from typing import ClassVar

import pytest

from spaces.domains import Value, checked_knobs, contains, knobs_of
from spaces.errors import InputError
from strategies import PLUS, STRATEGIES, StageContext, Strategy, strategy_class
from strategies.similarity import MODALITIES

IMPOSSIBLE = -1e30
"""A value outside every domain."""


@contextlib.contextmanager
def registered(strategy: type[Strategy]) -> Iterator[None]:
    """Make a strategy known by its name inside the block; compositions are known by their parts.

    Only this process knows it. Raises `InputError` if another strategy has the name.
    """
    name = strategy.name
    known = PLUS in name or STRATEGIES.get(name) is strategy
    if not known and name in STRATEGIES:
        raise InputError(f'a strategy must have a name of its own, got "{name}", which exists')
    if not known:
        STRATEGIES[name] = strategy
    try:
        yield
    finally:
        if not known:
            del STRATEGIES[name]


def stage_context(*before: tuple[str, ...], new: str = "new") -> StageContext:
    """Return the context of a stage on `new` after stages on the tasks `before`, all equally similar."""
    count = sum(len(tasks) for tasks in before)
    return StageContext((new,), before, dict.fromkeys(MODALITIES, (0.5,) * count))


class StrategyContract:
    """Tests that need no training; pytest collects them from a subclass that names its strategy.

    ```python
    class TestMine(StrategyContract):
        tested = Mine
    ```
    """

    tested: ClassVar[type[Strategy]]

    @pytest.fixture
    def strategy(self) -> type[Strategy]:
        """Return the class under test."""
        return self.tested

    @pytest.fixture
    def example(self, strategy: type[Strategy]) -> dict[str, Value]:
        """Return knobs with which the strategy acts on a few examples."""
        return strategy.example_knobs()

    @pytest.fixture(autouse=True)
    def registered_strategy(self, strategy: type[Strategy]) -> Iterator[None]:
        """Make the strategy known by its name during a test."""
        with registered(strategy):
            yield

    def test_it_is_found_by_its_name(self, strategy: type[Strategy]) -> None:
        assert strategy_class(strategy.name) is strategy

    def test_it_is_a_dataclass_of_its_own_whose_fields_are_knobs(
        self, strategy: type[Strategy]
    ) -> None:
        assert "__dataclass_params__" in vars(strategy), "@dataclass is missing"
        assert {field.name for field in dataclasses.fields(strategy)} == set(knobs_of(strategy))
        assert "name" not in knobs_of(strategy)

    def test_its_docstring_begins_with_one_sentence(self, strategy: type[Strategy]) -> None:
        first, _, rest = (strategy.__doc__ or "").partition("\n")
        assert first.endswith(".")
        assert first[0].isupper() or PLUS in strategy.name
        assert not rest or rest.startswith("\n")

    def test_its_defaults_lie_inside_their_domains_and_every_knob_has_a_help(
        self, strategy: type[Strategy]
    ) -> None:
        defaults = {name: knob.default for name, knob in knobs_of(strategy).items()}
        for name, knob in knobs_of(strategy).items():
            assert contains(knob.domain, knob.default), name
            assert knob.help, name
        assert strategy().knobs() == strategy(**defaults).knobs() == defaults

    def test_a_knob_outside_its_domain_or_of_no_such_name_is_refused(
        self, strategy: type[Strategy]
    ) -> None:
        with pytest.raises(InputError, match="unknown knob of"):
            checked_knobs(strategy, {"no_such_knob": 1}, strategy.name)
        for knob in knobs_of(strategy):
            with pytest.raises(InputError, match=rf"{re.escape(strategy.name)}\.{knob} must lie"):
                strategy(**{knob: IMPOSSIBLE})

    def test_effective_knobs_are_its_own_and_none_acts_on_the_first_stage(
        self, strategy: type[Strategy], example: dict[str, Value]
    ) -> None:
        for knobs in ({}, example):
            one = strategy(**knobs)
            for befores in ((), (("a",),), (("a", "b"), ("d",))):
                found = one.effective(stage_context(*befores))
                assert found.items() <= one.knobs().items()
            assert (one.consolidation_knobs() or {}).items() <= one.knobs().items()
            assert one.routing_knobs().items() <= one.knobs().items()
            if len(one.curriculum(("a", "b"))) == 2:
                assert one.effective(stage_context()) == {}

    def test_switched_off_no_knob_is_effective(
        self, strategy: type[Strategy], example: dict[str, Value]
    ) -> None:
        for off in strategy.off_knobs():
            assert strategy(**{**example, **off}).effective(stage_context(("a",))) == {}, off

    def test_its_knobs_make_an_equal_strategy(
        self, strategy: type[Strategy], example: dict[str, Value]
    ) -> None:
        one = strategy(**example)
        assert type(one)(**one.knobs()) == one
