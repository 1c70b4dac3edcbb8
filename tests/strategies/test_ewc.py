from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch
from toy import Toy, config, walked

from strategies import EWC, ExampleId, Outputs, StageContext, Tensors


class GivenGradients:
    """Learner that yields given gradients, and records the examples of the last call."""

    def __init__(self, *gradients: list[float]) -> None:
        self.given = [torch.tensor(values) for values in gradients]
        self.asked: list[ExampleId] = []

    def weights(self) -> Tensors:
        return {"w": torch.zeros(2)}

    def gradients(
        self, picks: Sequence[ExampleId], batch_size: int, of: Callable[..., object] = Outputs.nll
    ) -> Iterator[Tensors]:
        self.asked, self.batch_size, self.of = list(picks), batch_size, of
        for gradient in self.given:
            yield {"w": gradient[:2], "v": gradient[2:]}


def prepared(*importances: list[float], before=None, **knobs: float) -> EWC:
    """Return EWC after stages with these importances, anchored at (1, -2)."""
    strategy = EWC(**knobs)
    alone = tuple((f"task {number}",) for number in range(len(importances)))
    strategy.prepare(
        {"w": torch.tensor([1.0, -2.0])},
        [{"w": torch.tensor(i)} for i in importances],
        StageContext(("new",), before or alone),
    )
    return strategy


def test_the_penalty_is_zero_at_the_anchor() -> None:
    strategy = prepared([0.25, 0.75])
    assert strategy.has_penalty()
    assert strategy.penalty_gradient({"w": torch.tensor([1.0, -2.0])})["w"].tolist() == [0.0, 0.0]


def test_the_penalty_is_the_gradient_of_the_weighted_distance_to_the_anchor() -> None:
    strategy = prepared([0.25, 0.75], [0.5, 0.5], strength=200.0, decay=0.5)
    weights = torch.tensor([1.5, -1.0], requires_grad=True)
    importance = 0.5 * torch.tensor([0.25, 0.75]) + torch.tensor([0.5, 0.5])
    loss = 200.0 * (importance * (weights - torch.tensor([1.0, -2.0])) ** 2).sum()
    (expected,) = torch.autograd.grad(loss, weights)
    assert torch.allclose(strategy.penalty_gradient({"w": weights.detach()})["w"], expected)


@pytest.mark.parametrize(
    ("decay", "expected"), [(1.0, [1.2, 1.8]), (0.5, [0.45, 1.3]), (0.0, [0.1, 0.9])]
)
def test_older_importances_decay_with_every_stage(decay: float, expected: list[float]) -> None:
    strategy = prepared([0.8, 0.2], [0.3, 0.7], [0.1, 0.9], decay=decay)
    assert strategy.importance["w"].tolist() == pytest.approx(expected)


def test_tasks_of_one_stage_are_of_one_age() -> None:
    before = (("initial 1", "initial 2"), ("a",))
    strategy = prepared([0.8, 0.2], [0.3, 0.7], [0.1, 0.9], before=before, decay=0.5)
    assert strategy.importance["w"].tolist() == pytest.approx([0.65, 1.35])


def test_on_the_first_stage_there_is_no_penalty() -> None:
    strategy = prepared()
    assert not strategy.has_penalty()
    assert strategy.penalty_gradient({"w": torch.ones(2)}) == {}


def test_a_strength_of_zero_is_no_penalty() -> None:
    strategy = prepared([0.25, 0.75], strength=0)
    assert not strategy.has_penalty()
    assert strategy.effective(StageContext(("b",), (("a",),))) == {}
    assert strategy.consolidation_knobs() == EWC().consolidation_knobs()


def test_the_importance_is_the_mean_squared_gradient_and_sums_to_one() -> None:
    learner = GivenGradients([1.0, 0.0, 2.0], [-3.0, 1.0, 1.0])
    importance = EWC().consolidate(learner, "a", 8)
    # squares: (1 + 9, 0 + 1, 4 + 1), in all 16
    assert importance["w"].tolist() == pytest.approx([10 / 16, 1 / 16])
    assert importance["v"].tolist() == pytest.approx([5 / 16])
    assert learner.of is Outputs.nll


def test_without_any_gradient_the_importance_is_zero_and_not_nan() -> None:
    assert EWC().consolidate(GivenGradients([0.0, 0.0, 0.0]), "a", 8)["w"].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(("most", "asked"), [(100, 10), (10, 10), (5, 5), (4, 4), (3, 3), (1, 1)])
def test_importances_use_a_limited_number_of_examples_spread_over_the_task(
    most: int, asked: int
) -> None:
    learner = GivenGradients([1.0, 1.0, 1.0])
    EWC(importance_examples=most, importance_batch=2).consolidate(learner, "a", 10)
    assert {task for task, _ in learner.asked} == {"a"}
    rows = [row for _, row in learner.asked]
    assert len(rows) <= most
    assert len(rows) >= asked - 1
    assert len({later - row for row, later in itertools.pairwise(rows)}) <= 1
    assert learner.batch_size == 2


# In the loop -------------------------------------------------------------------------------------


def second_stage(toy: Toy, store: Path, strategy, **training) -> Tensors:
    walk = walked(toy.walk(config(strategy, **training), store))
    return walk.store.tensors(walk.stages[-1].key)


def distance(one: Tensors, other: Tensors) -> float:
    return float(sum((one[n] - other[n]).square().sum() for n in one)) ** 0.5


def test_a_stronger_penalty_moves_important_weights_less(toy: Toy, tmp_path: Path) -> None:
    first = walked(toy.walk(config("ewc"), tmp_path))
    start = first.store.tensors(first.stages[0].key)
    kept = first.store.tensors(first.job(first.paths[1]).kept_before[0])
    assert sum(float(v.sum()) for v in kept.values()) == pytest.approx(1.0, rel=1e-4)
    assert all((v >= 0).all() for v in kept.values())

    def moved(end: Tensors) -> float:
        return sum(float((kept[n] * (end[n] - start[n]).square()).sum()) for n in kept)

    ends = {s: second_stage(toy, tmp_path, {"name": "ewc", "strength": s}) for s in (1e2, 1e4, 1e6)}
    free = second_stage(toy, tmp_path, "finetune")
    assert moved(free) > moved(ends[1e2]) > moved(ends[1e4]) > moved(ends[1e6]) > 0


def test_importances_count_as_stored_bytes_and_not_as_parameters(toy: Toy, tmp_path: Path) -> None:
    chosen = config({"name": "ewc", "importance_batch": 12}, epochs=1)
    walk = walked(toy.walk(chosen, tmp_path, ("hue", "light", "half")))
    keys = walk.job(walk.paths[2]).kept_before
    weights = walk.store.tensors(walk.stages[2].key)
    size = sum(value.numel() * 4 for value in weights.values())
    stored = [walk.store.get(key).blob.bytes for key in keys]
    assert len(stored) == 2
    assert all(size <= each < 1.2 * size for each in stored)  # as many numbers, and their names
    assert walk.metrics()["stored_bytes"] == sum(stored)
    assert walk.metrics()["added_parameters"] == 0
    record = walk.store.get(walk.stages[2].key)
    assert record.parameters == size / 4
    assert record.memory == {"examples": 0, "bytes": 0}


def test_a_penalty_of_zero_is_finetune_to_the_last_bit(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = EWC.penalty_gradient
    monkeypatch.setattr(
        EWC,
        "penalty_gradient",
        lambda self, w: {name: 0.0 * g for name, g in exact(self, w).items()},
    )
    free = second_stage(toy, tmp_path, "finetune")
    nothing = second_stage(toy, tmp_path, "ewc")
    assert distance(nothing, free) == 0.0
