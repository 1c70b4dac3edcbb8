from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from toy import PROMPTS, Toy, config, walked

from strategies import TIR, StageContext
from strategies.similarity import MODALITIES, combine_signals, random_similarity
from strategies.tir import largest_importance

SIMILAR = {"image": (0.5, 0.8), "instruction": (0.5, 1.0), "answer": (0.4, 0.5)}
"""Products: 0.1 to the first old task, 0.4 to the second."""
OLD = (("a",), ("b",))


def tensors(*importances: Sequence[float]) -> list[dict[str, torch.Tensor]]:
    return [{"w": torch.tensor(values)} for values in importances]


def prepared(*importances: Sequence[float], similar=SIMILAR, before=OLD, **knobs) -> TIR:
    """Return TIR after stages with these importances, anchored at zero."""
    strategy = TIR(**knobs)
    context = StageContext(("c",), before, similar)
    strategy.prepare({"w": torch.zeros(len(importances[0]))}, tensors(*importances), context)
    return strategy


def test_each_weight_is_owned_by_the_first_task_that_gives_it_the_most() -> None:
    importance, owner = largest_importance(
        tensors([0.1, 0.5, 0.2, 0.2], [0.3, 0.5, 0.1, 0.2], [0.3, 0.6, 0, 0])
    )
    assert importance["w"].tolist() == pytest.approx([0.3, 0.6, 0.2, 0.2])
    assert owner["w"].tolist() == [1, 2, 0, 0]


def test_a_single_task_owns_all_weights() -> None:
    importance, owner = largest_importance(tensors([0.1, 0.0]))
    assert importance["w"].tolist() == pytest.approx([0.1, 0.0])
    assert owner["w"].tolist() == [0, 0]


def test_weights_of_a_similar_task_are_penalised_less() -> None:
    strategy = prepared([0.2, 0.5, 0.3], [0.6, 0.1, 0.3])
    # owners: b, a and (a tie) a
    expected = [0.6 * (1 - 0.4), 0.5 * (1 - 0.1), 0.3 * (1 - 0.1)]
    assert strategy.importance["w"].tolist() == pytest.approx(expected)


def test_the_penalty_is_that_of_ewc_with_this_importance() -> None:
    strategy = prepared([0.2, 0.8], [0.6, 0.4], strength=200.0)
    paid = strategy.penalty_gradient({"w": torch.tensor([1.0, -2.0])})["w"]
    expected = [2 * 200 * 0.6 * 0.6 * 1.0, 2 * 200 * 0.8 * 0.9 * -2.0]
    assert paid.tolist() == pytest.approx(expected)
    assert strategy.penalty_gradient({"w": torch.zeros(2)})["w"].tolist() == [0.0, 0.0]


def test_the_signal_names_what_is_multiplied() -> None:
    strategy = prepared([1.0], [0.0], signal="image*answer")
    assert strategy.importance["w"].tolist() == pytest.approx([1 - 0.5 * 0.4])


def test_the_unscaled_importance_is_kept_for_the_next_maximum() -> None:
    """Keep a weight's owner, however similar the tasks in between are."""
    kept = tensors([0.5], [0.4])
    between, strategy = dict.fromkeys(MODALITIES, (1.0, 0.0)), TIR()
    strategy.prepare({"w": torch.zeros(1)}, kept, StageContext(("c",), OLD, between))
    assert strategy.importance["w"].tolist() == [0.0]  # a owns it, and is the same as c
    assert [float(task["w"]) for task in kept] == pytest.approx([0.5, 0.4])
    after = StageContext(("d",), (*OLD, ("c",)), dict.fromkeys(MODALITIES, (0.0, 0.0, 0.0)))
    strategy.prepare({"w": torch.zeros(1)}, [*kept, *tensors([0.45])], after)
    assert strategy.importance["w"].tolist() == pytest.approx([0.5])


@pytest.mark.parametrize(
    ("control", "expected"),
    [
        ("none", [1 - 0.1, 1 - 0.4]),
        ("opposite", [0.1, 0.4]),
        ("random", [1 - random_similarity("c", "a"), 1 - random_similarity("c", "b")]),
    ],
)
def test_the_controls_replace_the_similarity(control: str, expected: list[float]) -> None:
    strategy = prepared([1.0, 0.0], [0.0, 1.0], control=control)
    assert strategy.importance["w"].tolist() == pytest.approx(expected)


def test_a_knob_without_effect_on_a_control_is_not_effective() -> None:
    context = StageContext(("c",), OLD, SIMILAR)
    assert "signal" in TIR().effective(context)
    assert "signal" in TIR(control="opposite").effective(context)
    assert "signal" not in TIR(control="random").effective(context)
    assert TIR().effective(StageContext(("c",))) == {}
    assert TIR(strength=0).effective(context) == {}


# In the loop -------------------------------------------------------------------------------------


def test_the_third_stage_penalises_weights_of_the_first_two(toy: Toy, tmp_path: Path) -> None:
    chosen = config({"name": "tir", "importance_batch": 12}, epochs=1)
    walk = walked(toy.walk(chosen, tmp_path, tuple(PROMPTS)))
    job = walk.job(walk.paths[2])
    kept = [walk.store.tensors(key) for key in job.kept_before]
    for importance in kept:
        total = sum(float(value.sum(dtype=torch.float64)) for value in importance.values())
        assert total == pytest.approx(1.0, rel=1e-4)
    strategy = chosen.fresh_strategy()
    strategy.prepare(walk.store.tensors(job.parent), kept, job.context)
    similar = combine_signals(job.context.similarity, "image*instruction*answer")
    assert len(similar) == 2
    for name, value in strategy.importance.items():
        first, second = (importance[name] for importance in kept)
        scaled = torch.where(second > first, second * (1 - similar[1]), first * (1 - similar[0]))
        assert torch.allclose(value, scaled), name


def test_it_keeps_and_shares_the_importance_of_ewc(toy: Toy, tmp_path: Path) -> None:
    knobs = {"importance_batch": 12}
    first = walked(toy.walk(config({"name": "ewc", **knobs}, epochs=1), tmp_path))
    again = walked(toy.walk(config({"name": "tir", **knobs}, epochs=1), tmp_path))
    assert [s.trained for s in again.stages] == [False, True]
    assert "keep" not in again.stages[0].seconds
    assert again.job(again.paths[1]).kept_before == first.job(first.paths[1]).kept_before
