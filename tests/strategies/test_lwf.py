from __future__ import annotations

from pathlib import Path

import pytest
import torch
from toy import Toy, config, walked

from strategies import LwF, Outputs, StageContext
from strategies.lwf import divergence
from strategies.outputs import ENDED
from trainables.rank import teacher as teachers
from trainables.rank.engine import open_engine, set_weights
from trainables.rank.teacher import Teacher
from trainables.rank.worker import Worker
from trainables.trial import PanelTrial

WITHIN = torch.tensor([[True, True, False], [True, False, False]])
SECOND = StageContext(("b",), (("a",),))


def logits(seed: int) -> torch.Tensor:
    return torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(seed))


def outputs(student: torch.Tensor, teacher: torch.Tensor | None) -> Outputs:
    answers = torch.where(WITHIN, 1, ENDED)
    return Outputs([("b", 0), ("b", 1)], student, answers, teacher)


def prepared(context: StageContext = SECOND, **knobs: float) -> LwF:
    strategy = LwF(**knobs)
    strategy.prepare({}, [], context)
    return strategy


def test_a_student_equal_to_its_teacher_has_no_divergence() -> None:
    assert float(divergence(logits(0), logits(0), WITHIN)) == 0.0
    # Logits are a distribution up to a constant.
    assert float(divergence(logits(0), logits(0) + 3, WITHIN)) == pytest.approx(0.0, abs=1e-6)


def test_the_divergence_is_from_teacher_to_student() -> None:
    teacher, student = logits(0), logits(1)
    total = 0.0
    for example, token in WITHIN.nonzero().tolist():
        before, now = (torch.softmax(x[example, token], dim=0) for x in (teacher, student))
        total += float((before * (before / now).log()).sum())
    assert float(divergence(teacher, student, WITHIN)) == pytest.approx(total, rel=1e-5)
    assert float(divergence(student, teacher, WITHIN)) != pytest.approx(total, rel=1e-2)
    pairs = (torch.distributions.Categorical(logits=x[WITHIN]) for x in (teacher, student))
    theirs = torch.distributions.kl_divergence(*pairs).sum()
    assert float(theirs) == pytest.approx(total, rel=1e-5)


def test_the_divergence_of_two_tokens_equals_the_hand_calculation() -> None:
    teacher = torch.tensor([[[0.75, 0.25]]]).log()
    student = torch.tensor([[[0.5, 0.5]]]).log()
    paid = divergence(teacher, student, torch.tensor([[True]]))
    assert float(paid) == pytest.approx(0.75 * 0.405465 - 0.25 * 0.693147, rel=1e-4)


def test_the_gradient_reaches_the_student_at_answer_tokens_only() -> None:
    student = logits(1).requires_grad_(True)
    (found,) = torch.autograd.grad(divergence(logits(0), student, WITHIN), [student])
    softmax = (torch.softmax(x, dim=-1) for x in (student.detach(), logits(0)))
    now, before = softmax
    assert torch.allclose(found, (now - before) * WITHIN[..., None], atol=1e-6)


def test_the_term_has_its_strength_from_the_second_stage_on() -> None:
    paid = float(divergence(logits(0), logits(1), WITHIN))
    strategy = prepared(strength=2.5)
    assert strategy.needs_teacher()
    said = strategy.distil(outputs(logits(1), logits(0)))
    assert said is not None
    assert float(said) == pytest.approx(2.5 * paid)
    for idle in (prepared(StageContext(("b",))), prepared(strength=0)):
        assert not idle.needs_teacher()
        assert idle.distil(outputs(logits(1), None)) is None


# The teacher -------------------------------------------------------------------------------------


def second_stage(walk: PanelTrial) -> tuple[Worker, Teacher, list]:
    """Return a worker at the second stage's start, and its logits on the stage's batches."""
    worker, job = walk.runner.worker, walk.job(walk.paths[1])
    start = walk.store.tensors(job.parent)
    plan = worker._stage_batches(job, walk.config, walk.config.fresh_strategy(), start)
    # In an engine, without which nothing puts together what ZeRO-3 has split.
    with open_engine(worker.rank_context.lmm, walk.config.training, 1, start, len(plan)) as engine:
        teacher = Teacher(worker.rank_context, engine, plan, walk.config, start)
        teacher.start_step(0)
    return worker, teacher, plan


@pytest.fixture(scope="module")
def walk(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> PanelTrial:
    return walked(toy.walk(config("lwf", epochs=1), tmp_path_factory.mktemp("lwf")))


def test_the_teacher_has_the_models_logits_at_the_stages_start(walk: PanelTrial) -> None:
    worker, teacher, plan = second_stage(walk)
    for batch in plan:
        said, answers = worker.rank_context.lmm.inference_logits(
            worker.rank_context.data.training(batch)
        )
        kept = teacher.logits_of(batch, said)
        within = answers != ENDED
        assert torch.allclose(kept[within], said[within], rtol=1e-4, atol=1e-5)
        assert not kept[~within].any()
        assert float(divergence(kept, said, within)) == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("training", [{}, {"zero": 2}, {"zero": 3}, {"precision": "bf16"}])
def test_a_teacher_that_learns_a_batch_at_a_time_trains_the_same(
    training: dict, toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = config("lwf", epochs=1, **training)
    first = walked(toy.walk(chosen, tmp_path / "whole"))
    _, whole, plan = second_stage(first)
    assert whole.windows == {0: len(plan)}
    monkeypatch.setattr(teachers, "WINDOW", 1)
    _, piecemeal, _ = second_stage(first)
    assert piecemeal.windows == {step: step + 1 for step in range(len(plan))}
    assert set(piecemeal._logits) == set(plan[0])
    again = walked(toy.walk(chosen, tmp_path / "again"))
    for name, weight in again.store.tensors(again.stages[1].key).items():
        expected = first.store.tensors(first.stages[1].key)[name]
        # Batches of other examples are looked at together: sums may differ in their last bits.
        torch.testing.assert_close(weight, expected, rtol=1e-3, atol=1e-5)


def test_windows_hold_as_many_batches_as_fit(
    walk: PanelTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, teacher, plan = second_stage(walk)
    text = worker.rank_context.lmm.base.config.get_text_config()
    tokens = [sum(worker.rank_context.data.answer_length(pick) for pick in batch) for batch in plan]
    monkeypatch.setattr(teachers, "WINDOW", 4 * text.vocab_size * (tokens[0] + tokens[1]))
    assert teacher._windows() == {0: 2, 2: 3}
    for batch, count in zip(plan, tokens, strict=True):
        assert count == worker.rank_context.answer_tokens(batch)


# In the loop -------------------------------------------------------------------------------------


def test_a_stronger_term_keeps_the_model_nearer_to_its_old_outputs(
    toy: Toy, tmp_path: Path
) -> None:
    def away(strength: float) -> float:
        made = walked(toy.walk(config({"name": "lwf", "strength": strength}), tmp_path))
        worker, teacher, plan = second_stage(made)
        set_weights(worker.rank_context.lmm, made.store.tensors(made.key(made.paths[1])))
        said, answers = worker.rank_context.lmm.inference_logits(
            worker.rank_context.data.training(plan[0])
        )
        return float(divergence(teacher.logits_of(plan[0], said), said, answers != ENDED))

    free, weak, strong = away(0), away(0.1), away(100.0)
    assert free > weak > strong >= 0
    assert strong < free / 10


def test_no_example_of_an_earlier_task_is_stored(walk: PanelTrial) -> None:
    assert walk.store.get(walk.stages[1].key).memory == {"examples": 0, "bytes": 0}
    assert walk.metrics()["stored_bytes"] == walk.metrics()["added_parameters"] == 0
