from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from losses import answer_loss
from toy import Toy, blobs, config, walked

from strategies import AGEM, STRATEGIES, ExampleId, StageContext, Tensors
from strategies.a_gem import inner_product

OLD = {"a": 100, "b": 37}


def shuffled(task: str) -> Sequence[int]:
    return list(reversed(range(OLD[task])))


def gradient(values: list[float]) -> Tensors:
    return {"w": torch.tensor(values[:2]), "v": torch.tensor(values[2:])}


def project(one: Tensors, other: Tensors) -> Tensors:
    return AGEM().project(one, other)


def test_the_part_that_opposes_the_memory_is_removed() -> None:
    found = project(gradient([1.0, -2.0, 0.0]), gradient([1.0, 1.0, 1.0]))
    # g.r = -1 and |r|^2 = 3: g + r / 3
    assert found["w"].tolist() == pytest.approx([4 / 3, -5 / 3])
    assert found["v"].tolist() == pytest.approx([1 / 3])


@pytest.mark.parametrize("memory", [[1.0, 0.0, 0.0], [2.0, 1.0, 5.0], [0.0, 0.0, 0.0]])
def test_a_gradient_that_agrees_is_unchanged(memory: list[float]) -> None:
    own = gradient([1.0, -2.0, 3.0])
    assert project(own, gradient(memory)) is own


def test_the_projected_gradient_never_opposes_the_memory() -> None:
    draw = torch.Generator().manual_seed(0)
    opposed = 0
    for _ in range(200):
        own, memory = ({"w": torch.randn(20, generator=draw)} for _ in range(2))
        found = project(own, memory)
        if found is not own:
            opposed += 1
            assert inner_product(found, memory) == pytest.approx(0.0, abs=1e-5)
            # Of all that do not oppose it, it is the nearest: what was taken away lies along the memory.
            away = own["w"] - found["w"]
            along = torch.nn.functional.cosine_similarity(away, memory["w"], dim=0)
            assert float(along) == pytest.approx(-1.0)
        else:
            assert inner_product(found, memory) >= 0
    assert 50 < opposed < 150


def test_the_memory_is_a_ratio_of_each_task_and_batches_cycle_through_it() -> None:
    strategy = AGEM(ratio=0.05)
    new = [("c", 0), ("c", 1)]
    assert strategy.mix(new, OLD, shuffled) is new
    held = [("a", 99), ("b", 36), *(("a", row) for row in (98, 97, 96, 95))]
    assert [strategy.memory_batch(step, 4) for step in range(3)] == [
        held[:4],
        [*held[4:], *held[:2]],
        held[2:],
    ]


def test_without_a_memory_there_is_no_memory_batch() -> None:
    for strategy, old in ((AGEM(ratio=0.3), {}), (AGEM(ratio=0.001), OLD), (AGEM(ratio=0), OLD)):
        strategy.mix([("c", 0)], old, shuffled)
        assert strategy.memory_batch(0, 4) == []
    second = StageContext(("c",), (("a", "b"),))
    assert AGEM(ratio=0.3).effective(second) == {"ratio": 0.3}
    assert AGEM(ratio=0).effective(second) == AGEM().effective(StageContext(("c",))) == {}


# In the loop -------------------------------------------------------------------------------------


class Recording(AGEM):
    """A-GEM that records every gradient, the memory's, and the projected one."""

    name = "recording"
    recorded: list[tuple[Tensors, Tensors, Tensors]]

    def project(self, gradient: Tensors, memory_gradient: Tensors) -> Tensors:
        found = super().project(gradient, memory_gradient)
        self.recorded.append((gradient, memory_gradient, found))
        return found


class Agreeing(AGEM):
    """A-GEM that computes the memory's gradient and projects nothing."""

    name = "agreeing"

    def project(self, gradient: Tensors, memory_gradient: Tensors) -> Tensors:
        assert any(bool(value.any()) for value in memory_gradient.values())
        return super().project(gradient, gradient)


@pytest.fixture
def own_strategies(monkeypatch: pytest.MonkeyPatch) -> None:
    for cls in (Recording, Agreeing):
        monkeypatch.setitem(STRATEGIES, cls.name, cls)
    monkeypatch.setattr(Recording, "recorded", [], raising=False)


@pytest.mark.parametrize("training", [{}, {"micro_batch": 4}, {"zero": 2}, {"precision": "bf16"}])
def test_a_memory_that_agrees_changes_nothing(
    training: dict, own_strategies: None, toy: Toy, tmp_path: Path
) -> None:
    knobs = {"epochs": 1, **training}
    plain = walked(toy.walk(config(**knobs), tmp_path / "plain"))
    chosen = config({"name": "agreeing", "ratio": 0.3}, **knobs)
    agreed = walked(toy.walk(chosen, tmp_path / "agreed"))
    assert blobs(agreed) == blobs(plain)
    memory = agreed.store.get(agreed.stages[1].key).memory
    assert memory["examples"] == 7
    assert plain.store.get(plain.stages[1].key).memory == {"examples": 0, "bytes": 0}


def test_the_memorys_gradient_is_that_of_its_examples_alone(
    own_strategies: None, toy: Toy, tmp_path: Path
) -> None:
    trial = walked(toy.walk(config({"name": "recording", "ratio": 0.3}, epochs=1), tmp_path))
    worker, job = trial.runner.worker, trial.job(trial.paths[1])
    assert len(Recording.recorded) == trial.store.get(trial.stages[1].key).steps == 3
    weights = trial.store.tensors(job.parent)
    lmm = worker.rank_context.lmm
    for name, parameter in lmm.trainable().items():
        parameter.data.copy_(weights[name])
    held: list[ExampleId] = [("hue", row) for row in worker.rank_context.data.shuffled("hue")[:7]]
    batch = [*held, held[0]]
    tokens = worker.rank_context.answer_tokens(batch)
    loss = answer_loss(lmm, worker.rank_context.data.training(batch)) / tokens
    found = torch.autograd.grad(loss, list(lmm.trainable().values()), allow_unused=True)
    _, memory_gradient, _ = Recording.recorded[0]
    for name, value in zip(lmm.trainable(), found, strict=True):
        expected = torch.zeros_like(memory_gradient[name]) if value is None else value
        assert torch.allclose(memory_gradient[name], expected, rtol=1e-3, atol=1e-6), name


def test_a_step_is_never_taken_against_the_memory(
    own_strategies: None, toy: Toy, tmp_path: Path
) -> None:
    walked(toy.walk(config({"name": "recording", "ratio": 0.3}), tmp_path))
    against = [
        inner_product(gradient, memory_gradient) < 0
        for gradient, memory_gradient, _ in Recording.recorded
    ]
    assert any(against)
    for gradient, memory_gradient, found in Recording.recorded:
        size = (
            inner_product(gradient, gradient) ** 0.5
            * inner_product(memory_gradient, memory_gradient) ** 0.5
        )
        assert inner_product(found, memory_gradient) >= -1e-5 * size
