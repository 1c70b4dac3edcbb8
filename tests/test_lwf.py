from __future__ import annotations

from pathlib import Path

import pytest
import torch
from toy import Toy, blobs, config, walked

from strategies import LwF, Outputs, Standing
from strategies.lwf import divergence
from strategies.outputs import ENDED
from trainables import teacher as teachers
from trainables.engine import set_weights
from trainables.teacher import Teacher, in_parts
from trainables.walk import Walk
from trainables.worker import Worker

WITHIN = torch.tensor([[True, True, False], [True, False, False]])
SECOND = Standing(("b",), (("a",),))


def logits(seed: int) -> torch.Tensor:
    return torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(seed))


def outputs(student: torch.Tensor, teacher: torch.Tensor | None) -> Outputs:
    answers = torch.where(WITHIN, 1, ENDED)
    return Outputs([("b", 0), ("b", 1)], student, answers, teacher)


def prepared(standing: Standing = SECOND, **knobs: float) -> LwF:
    strategy = LwF(**knobs)
    strategy.prepare({}, [], standing)
    return strategy


def test_a_student_that_says_what_the_teacher_said_pays_nothing() -> None:
    assert float(divergence(logits(0), logits(0), WITHIN)) == 0.0
    # Logits are a distribution up to a constant.
    assert float(divergence(logits(0), logits(0) + 3, WITHIN)) == pytest.approx(0.0, abs=1e-6)


def test_the_divergence_is_that_of_the_teacher_from_the_student() -> None:
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


def test_of_two_tokens_it_is_what_is_worked_out_by_hand() -> None:
    teacher = torch.tensor([[[0.75, 0.25]]]).log()
    student = torch.tensor([[[0.5, 0.5]]]).log()
    paid = divergence(teacher, student, torch.tensor([[True]]))
    assert float(paid) == pytest.approx(0.75 * 0.405465 - 0.25 * 0.693147, rel=1e-4)


def test_the_gradient_reaches_the_student_where_an_answer_is() -> None:
    student = logits(1).requires_grad_(True)
    (found,) = torch.autograd.grad(divergence(logits(0), student, WITHIN), [student])
    softmax = (torch.softmax(x, dim=-1) for x in (student.detach(), logits(0)))
    now, before = softmax
    assert torch.allclose(found, (now - before) * WITHIN[..., None], atol=1e-6)


def test_it_pays_its_strength_from_the_second_stage_on() -> None:
    paid = float(divergence(logits(0), logits(1), WITHIN))
    strategy = prepared(strength=2.5)
    assert strategy.taught()
    said = strategy.distil(outputs(logits(1), logits(0)))
    assert said is not None
    assert float(said) == pytest.approx(2.5 * paid)
    for idle in (prepared(Standing(("b",))), prepared(strength=0)):
        assert not idle.taught()
        assert idle.distil(outputs(logits(1), None)) is None


# The teacher -------------------------------------------------------------------------------------


def second_stage(walk: Walk) -> tuple[Worker, Teacher, list]:
    """A worker whose model is that at the second stage's start, and what it said of the stage's plan."""
    worker, job = walk.runner.worker, walk.job(walk.paths[1])
    start = walk.store.tensors(job.parent)
    plan = worker._plan(job, walk.config, walk.config.fresh_strategy(), start)
    set_weights(worker.lmm, start)
    return worker, worker._teacher(plan, walk.config), plan


@pytest.fixture(scope="module")
def walk(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Walk:
    return walked(toy.walk(config("lwf", epochs=1), tmp_path_factory.mktemp("lwf")))


def test_the_teacher_says_what_the_model_says_at_the_stages_start(walk: Walk) -> None:
    worker, teacher, plan = second_stage(walk)
    for batch in plan:
        said, answers = worker.lmm.untaught_logits(worker.data.training(batch))
        kept = teacher.of(batch, said)
        within = answers != ENDED
        assert torch.allclose(kept[within], said[within], rtol=1e-4, atol=1e-5)
        assert not kept[~within].any()
        assert float(divergence(kept, said, within)) == pytest.approx(0.0, abs=1e-5)


def test_a_teacher_in_a_file_says_what_one_in_memory_says(
    walk: Walk, toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, known, plan = second_stage(walk)
    monkeypatch.setattr(teachers, "IN_MEMORY", 0)
    _, teacher, _ = second_stage(walk)
    like, _ = worker.lmm.untaught_logits(worker.data.training(plan[0]))
    assert torch.equal(teacher.of(plan[0], like), known.of(plan[0], like))
    assert teacher._folder is not None and known._folder is None
    folder = Path(teacher._folder.name)
    assert (folder / "logits").stat().st_size == teacher._tokens * like.shape[-1] * 4
    del teacher
    assert not folder.exists()
    filed = walked(toy.walk(config("lwf", epochs=1), tmp_path))
    assert blobs(filed) == blobs(walk)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_what_a_teacher_learned_it_says_again_padded_as_it_is_asked(precision) -> None:
    lengths = {("a", 4): 2, ("b", 1): 3}
    teacher, said = Teacher(lengths, precision), logits(0)
    teacher.learn([("a", 4), ("b", 1)], said)
    found = teacher.of([("b", 1), ("a", 4)], torch.zeros(2, 4, 5))
    assert found.dtype == torch.float32
    assert torch.equal(found[0, :3], said[1].to(precision).float())
    assert torch.equal(found[1, :2], said[0, :2].to(precision).float())
    assert not found[0, 3:].any() and not found[1, 2:].any()


def test_ranks_with_less_to_learn_make_as_many_calls() -> None:
    picks = [("a", row) for row in range(3)]
    assert list(in_parts(picks, 2, 3)) == [picks[:2], picks[2:], picks[2:]]


# In the loop -------------------------------------------------------------------------------------


def test_the_stronger_it_is_the_nearer_the_model_stays_to_what_it_said(
    toy: Toy, tmp_path: Path
) -> None:
    def away(strength: float) -> float:
        made = walked(toy.walk(config({"name": "lwf", "strength": strength}), tmp_path))
        worker, teacher, plan = second_stage(made)
        set_weights(worker.lmm, made.store.tensors(made.key(made.paths[1])))
        said, answers = worker.lmm.untaught_logits(worker.data.training(plan[0]))
        return float(divergence(teacher.of(plan[0], said), said, answers != ENDED))

    free, weak, strong = away(0), away(0.1), away(100.0)
    assert free > weak > strong >= 0
    assert strong < free / 10


def test_no_example_of_an_earlier_task_is_held(walk: Walk) -> None:
    assert walk.store.get(walk.stages[1]["key"])["memory"] == {"examples": 0, "bytes": 0}
    assert walk.metrics()["stored_bytes"] == walk.metrics()["added_parameters"] == 0
