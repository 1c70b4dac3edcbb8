from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from toy import TRAINING, Toy, adapted, blobs, config, walked

from models.lmm import LMM
from strategies import STRATEGIES, StageContext, Strategy, Tensors
from tasks import load_benchmark
from trainables.rank.worker import Worker
from trainables.stage_job import DivergedError

FAMILIES = pytest.mark.parametrize("family", ["toy", "toy_instructblip"])
PARTS = pytest.mark.parametrize("parts", ["connector", "lm_lora", "connector+lm_lora"])


def losses(walk) -> list[tuple[float, float]]:
    records = [walk.store.get(stage.key) for stage in walk.stages]
    return [(record.first_loss, record.last_loss) for record in records]


@FAMILIES
@PARTS
def test_the_loss_falls_and_frozen_weights_stay_to_the_last_bit(
    family: str, parts: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    toy = request.getfixturevalue(family)
    walk = walked(toy.walk(adapted(config(), parts=parts), tmp_path, ("hue",)))
    ((first, last),) = losses(walk)
    assert last < 0.8 * first
    weights = walk.store.tensors(walk.stages[0].key)
    before = {n.removeprefix("base_model.model."): p for n, p in _named(LMM(toy.model))}
    after = dict(_named(walk.runner.worker.rank_context.lmm))
    for name, parameter in after.items():
        if name not in weights:
            assert torch.equal(parameter, before[name]), name
    lmm = walk.runner.worker.rank_context.lmm
    assert set(weights) == set(lmm.trainable())
    moved = [n for n in weights if n not in before or not torch.equal(weights[n], before[n])]
    for prefix in lmm.family.connector if "connector" in parts else ():
        assert any(name.startswith(prefix) for name in moved), prefix


def _named(lmm: LMM) -> list[tuple[str, torch.Tensor]]:
    """List parameters under their names in the plain model."""
    return [(name.replace(".base_layer", ""), p.detach()) for name, p in lmm.named_weights()]


@FAMILIES
@pytest.mark.parametrize("zero", [0, 2, 3])
def test_a_penalty_works_with_weights_that_have_no_gradient(
    family: str, zero: int, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """The last layer of a Q-Former has weights for the instruction alone, which have no gradient."""
    toy = request.getfixturevalue(family)
    walk = walked(toy.walk(config("ewc", epochs=1, zero=zero), tmp_path))
    for stage in walk.stages:
        assert all(w.isfinite().all() for w in walk.store.tensors(stage.key).values())


@FAMILIES
def test_every_answer_is_in_the_record_of_a_score(
    family: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    toy = request.getfixturevalue(family)
    walk = walked(toy.walk(config(epochs=8), tmp_path, ("light",)))
    examples = load_benchmark(toy.benchmark).task("light").examples("validation")
    (cell,) = toy.walk(config(epochs=8), tmp_path / "none", ("light",)).job((("light",),)).score
    record = walk.store.get(cell[2])
    assert [p["id"] for p in record.predictions] == [e.id for e in examples]
    right = [p["prediction"] == e.answer for p, e in zip(record.predictions, examples, strict=True)]
    assert [bool(p["score"]) for p in record.predictions] == right
    assert record.score == sum(right) / 10 == walk.matrices()[0].values[1, 0]
    assert record.score > 0
    known = [p["prediction"] in ("light", "dark") for p in record.predictions]
    assert record.format_compliance == pytest.approx(sum(known) / 10)


def test_the_model_before_any_stage_scores_the_same_whatever_the_adapters(
    toy: Toy, tmp_path: Path
) -> None:
    for parts in ("connector", "lm_lora"):
        walk = walked(toy.walk(adapted(config(epochs=1), parts=parts), tmp_path, ("hue",)))
        job = walk.job(())
        assert job.empty
        assert walk.scores[()] == {"hue": walk.matrices()[0].values[0, 0]}


@pytest.mark.parametrize("knobs", [{"precision": "bf16"}, {"precision": "bf16", "zero": 2}])
def test_half_precision_trains_to_finite_weights(knobs: dict, toy: Toy, tmp_path: Path) -> None:
    walk = walked(toy.walk(config("ewc", **knobs), tmp_path))
    for first, last in losses(walk)[:1]:
        assert last < 0.8 * first
    for stage in walk.stages:
        assert all(w.dtype == torch.float32 for w in walk.store.tensors(stage.key).values())
    again = walked(toy.walk(config("ewc", **knobs), tmp_path / "again"))
    assert blobs(again) == blobs(walk)


def test_half_precision_keeps_fp32_weights_at_every_zero_stage(toy: Toy, tmp_path: Path) -> None:
    one, two = (
        walked(toy.walk(config(precision="bf16", zero=zero), tmp_path, ("hue",))) for zero in (0, 1)
    )
    assert blobs(one) == blobs(two)
    weights = one.store.tensors(one.key(one.paths[-1])).values()
    assert any((weight != weight.bfloat16().float()).any() for weight in weights)


def test_every_training_knob_changes_the_result(toy: Toy, tmp_path: Path) -> None:
    changes = {
        **{"epochs": 3, "batch_size": 4, "learning_rate": 0.01, "schedule": "linear"},
        **{"warmup": 0.5, "weight_decay": 0.5, "clip": 0.1},
    }
    variants = [{**TRAINING, "micro_batch": 4}]
    variants += [{"micro_batch": 4, name: value} for name, value in changes.items()]
    runner = toy.walk(config(), tmp_path).runner
    made = [
        blobs(walked(toy.walk(config(**variant), tmp_path, ("hue",), runner=runner)))[0]
        for variant in variants
    ]
    made.append(
        blobs(walked(toy.walk(adapted(config(micro_batch=4), dropout=0.2), tmp_path, ("hue",))))[0]
    )
    assert len(set(made)) == len(made)


def test_a_second_zero_3_stage_of_a_process_equals_the_first(toy: Toy, tmp_path: Path) -> None:
    made = [
        blobs(walked(toy.walk(config(zero=3, epochs=1), tmp_path / name))) for name in ("a", "b")
    ]
    assert made[0] == made[1]
    assert torch.nn.functional.linear.__module__ != "deepspeed.runtime.zero.linear"


# Divergence --------------------------------------------------------------------------------------


@dataclass
class Exploding(Strategy):
    """Add an infinite penalty as soon as a weight moves."""

    name = "exploding"

    def effective(self, context: StageContext) -> dict[str, object]:
        return {"stages": len(context.before)}

    def prepare(self, start: Tensors, kept: Sequence[Tensors], context: StageContext) -> None:
        self.start = start

    def has_penalty(self) -> bool:
        return True

    def penalty_gradient(self, weights: Tensors) -> Tensors:
        moved = any(not torch.equal(weights[n], self.start[n]) for n in weights)
        return {n: torch.full_like(w, torch.inf) for n, w in weights.items()} if moved else {}


@pytest.mark.parametrize("zero", [0, 2, 3])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_stage_with_a_gradient_that_is_not_finite_diverges(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str, zero: int
) -> None:
    monkeypatch.setitem(STRATEGIES, "exploding", Exploding)
    walk = toy.walk(config("exploding", precision=precision, zero=zero), tmp_path)
    with pytest.raises(DivergedError, match=r"stage 1 on hue diverged: .*lower learning_rate"):
        walk.step()


def test_a_diverged_stage_is_recorded_for_all_trials_and_the_worker_stays_usable(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(STRATEGIES, "exploding", Exploding)
    expected = blobs(walked(toy.walk(config(), tmp_path / "other")))
    walk = toy.walk(config("exploding"), tmp_path)
    with pytest.raises(DivergedError, match=r"stage 1 on hue diverged: .*lower learning_rate"):
        walk.step()
    assert not list((tmp_path / "blobs").rglob("*.safetensors"))
    assert not list((tmp_path / "leases").iterdir())
    again = toy.walk(config("exploding"), tmp_path, runner=walk.runner)
    monkeypatch.setattr(walk.runner, "run", lambda job: pytest.fail("it was trained again"))
    with pytest.raises(DivergedError, match=r"stage 1 on hue diverged: .*lower learning_rate"):
        again.step()
    monkeypatch.undo()
    monkeypatch.setitem(STRATEGIES, "exploding", Exploding)
    assert blobs(walked(toy.walk(config(), tmp_path, runner=walk.runner))) == expected


def test_a_worker_of_one_rank_needs_no_launcher(toy: Toy, tmp_path: Path) -> None:
    worker = toy.walk(config(), tmp_path).runner.worker
    assert isinstance(worker, Worker)
    assert (worker.rank_context.rank, worker.rank_context.workers) == (0, 1)
