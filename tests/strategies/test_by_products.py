"""By-products of training: stored beside the weights, and given to an instance that did not train."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from optuna.distributions import FloatDistribution
from toy import Toy, blobs, config, walked

from spaces.domains import Value, knob
from spaces.errors import InputError
from strategies import STRATEGIES, Learner, StageContext, Strategy, Tensors
from trainables.trial import PanelTrial

ORDERING = ("hue", "light", "half")


@dataclass
class PathLength(Strategy):
    """Penalise changes to weights by the length of the path that they took in earlier stages."""

    name = "path_length"
    has_by_products = True
    strength: float = knob(1e3, FloatDistribution(1.0, 1e6, log=True), "of the penalty", off=0.0)

    def effective(self, context: StageContext) -> dict[str, Value]:
        return {"strength": self.strength} if context.before and self.strength else {}

    def consolidation_knobs(self) -> dict[str, Value]:
        return {}

    def prepare(self, start: Tensors, kept: Sequence[Tensors], context: StageContext) -> None:
        self.anchor, self.last = start, start
        self.lengths = {name: torch.zeros_like(weight) for name, weight in start.items()}
        self.importance = {n: sum((k[n] for k in kept), torch.zeros(())) for n in start if kept}

    def has_penalty(self) -> bool:
        return True

    def penalty_gradient(self, weights: Tensors) -> Tensors:
        self.lengths = {n: self.lengths[n] + (w - self.last[n]).abs() for n, w in weights.items()}
        self.last = weights
        scale = 2 * self.strength
        return {n: scale * i * (weights[n] - self.anchor[n]) for n, i in self.importance.items()}

    def by_products(self, weights: Tensors) -> Tensors:
        self.penalty_gradient(weights)
        return self.lengths

    def consolidate(self, learner: Learner, task: str, size: int) -> Tensors:
        total = sum(float(length.sum()) for length in learner.by_products.values())
        return {name: length / total for name, length in learner.by_products.items()}


@dataclass
class Forgetful(PathLength):
    """Read in `consolidate` what only training sets."""

    name = "forgetful"

    def consolidate(self, learner: Learner, task: str, size: int) -> Tensors:
        return self.lengths


@pytest.fixture(autouse=True)
def register(monkeypatch: pytest.MonkeyPatch) -> None:
    for strategy in (PathLength, Forgetful):
        monkeypatch.setitem(STRATEGIES, strategy.name, strategy)


def kept(trial: PanelTrial) -> list[Tensors]:
    """Return the consolidated tensors of the first two stages' tasks."""
    return [trial.store.tensors(key) for key in trial.job(trial.paths[2]).kept_before]


def equal(some: Sequence[Tensors], others: Sequence[Tensors]) -> bool:
    return all(
        a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
        for a, b in zip(some, others, strict=True)
    )


@pytest.mark.parametrize("name", ["path_length", "path_length+replay"])
def test_a_stage_from_the_store_has_the_by_products_of_one_that_is_trained(
    name: str, toy: Toy, tmp_path: Path
) -> None:
    chosen = config(name, epochs=1)
    alone = walked(toy.walk(chosen, tmp_path / "alone", ORDERING))
    assert [stage.trained for stage in alone.stages] == [True, True, True]
    assert len(kept(alone)) == 2

    first = walked(toy.walk(config(epochs=1), tmp_path / "shared", ORDERING))
    shared = walked(toy.walk(chosen, tmp_path / "shared", ORDERING, runner=first.runner))
    assert shared.key(shared.paths[0]) == first.key(first.paths[0])
    # The first stage was trained again for its by-products alone.
    assert [stage.trained for stage in shared.stages] == [True, True, True]
    assert blobs(shared) == blobs(alone)
    assert equal(kept(shared), kept(alone))
    assert blobs(first)[0] == blobs(alone)[0]
    assert blobs(first)[1] != blobs(alone)[1]


def test_by_products_of_a_part_carry_its_name(toy: Toy, tmp_path: Path) -> None:
    trial = walked(toy.walk(config("path_length+replay", epochs=1), tmp_path, ORDERING))
    first = trial.store.tensors(trial.lineage.by_product(trial.paths[0]) or "")
    assert first and all(name.startswith("path_length/") for name in first)


def test_a_second_trial_finds_the_by_products(toy: Toy, tmp_path: Path) -> None:
    chosen = config("path_length", epochs=1)
    first = walked(toy.walk(chosen, tmp_path, ORDERING))
    for key in (first.job(first.paths[2]).kept_before[0], first.key(first.paths[1])):
        (tmp_path / "records" / key[:2] / f"{key}.json").unlink()
    again = walked(toy.walk(chosen, tmp_path, ORDERING, runner=first.runner))
    assert [stage.trained for stage in again.stages] == [False, True, False]
    assert blobs(again) == blobs(first)


def test_the_last_stage_of_an_ordering_leaves_none(toy: Toy, tmp_path: Path) -> None:
    trial = walked(toy.walk(config("path_length", epochs=1), tmp_path, ORDERING))
    left = [bool(trial.store.header(trial.lineage.by_product(p) or "")) for p in trial.paths]
    assert left == [True, True, False]


def test_consolidating_from_the_state_of_training_is_an_input_error(
    toy: Toy, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"got Forgetful\.lengths, which training sets; returning"):
        walked(toy.walk(config("forgetful", epochs=1), tmp_path, ORDERING))
