"""The contract of every strategy; tests of one strategy's own behaviour are in tests/strategies/."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lively import NAMES, example
from toy import blobs, config, walked

from spaces.domains import Value
from strategies import STRATEGIES, Strategy, strategy_class
from strategies.testing import registered
from trainables.testing.contract import TrainedStrategyContract
from trainables.testing.toy_trials import ORDERINGS, WHOLE, ToyTrials, toy_trials
from trainables.trial import PanelTrial

CASES = [(strategy_class(name), example(name)) for name in NAMES]


@pytest.mark.parametrize("strategy", [cls for cls, _ in CASES], ids=NAMES)
class TestEveryStrategy(TrainedStrategyContract):
    """The contract over all strategies of the table, and over some compositions."""

    @pytest.fixture
    def example(self, strategy: type[Strategy]) -> dict[str, Value]:
        return example(strategy.name)


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> ToyTrials:
    """Return the trials that the contract trains."""
    return toy_trials(tmp_path_factory.getbasetemp() / "toy-trials")


@pytest.fixture(scope="module")
def trained(trials: ToyTrials) -> dict[str, PanelTrial]:
    """Return every strategy's trial by name."""
    return {cls.name: trials.trained(cls, knobs) for cls, knobs in CASES}


def test_only_experts_apart_train_the_same_in_both_orders(trained: dict[str, PanelTrial]) -> None:
    for name, trial in trained.items():
        different = 2 if name == "eproj" else len(trial.paths)
        assert len(set(blobs(trial))) == different, name


def test_every_strategy_trains_the_second_stage_to_other_weights(
    trained: dict[str, PanelTrial],
) -> None:
    seconds = [blobs(trial)[1] for trial in trained.values() if len(trial.paths) > 1]
    assert len(set(seconds)) == len(seconds)


def test_strategies_with_the_same_shared_knobs_train_the_first_stage_alike(
    trained: dict[str, PanelTrial],
) -> None:
    firsts: dict[Any, set[str]] = {}
    for trial in trained.values():
        if len(trial.paths) > 1:
            shared = (trial.config.training, trial.config.adapter)
            firsts.setdefault(shared, set()).add(blobs(trial)[0])
    assert len(firsts) == 2  # the projection alone is another adapter
    assert all(len(first) == 1 for first in firsts.values())


@dataclass
class Idle(Strategy):
    """Leave every hook alone."""

    name = "idle"


def test_a_strategy_that_leaves_the_hooks_alone_is_finetune(
    trained: dict[str, PanelTrial], trials: ToyTrials, tmp_path: Path
) -> None:
    with registered(Idle):
        idle = walked(trials.toy.walk(config("idle", **WHOLE), tmp_path, *ORDERINGS))
    assert blobs(idle) == blobs(trained["finetune"])
    assert idle.matrices() == trained["finetune"].matrices()
    assert [s.key for s in idle.stages] == [s.key for s in trained["finetune"].stages]
    assert "idle" not in STRATEGIES
