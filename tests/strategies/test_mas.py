from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch
from test_ewc import GivenGradients
from toy import Toy, adapted, config, walked

from strategies import EWC, MAS, ExampleId, Outputs, StageContext, Tensors
from strategies.outputs import ENDED
from strategies.regulariser import squared_logits
from trainables.rank.engine import set_weights
from trainables.rank.worker import Worker

ANSWERS = torch.tensor([[0, 1], [2, ENDED]])
INPUTS = torch.tensor([[[1.0, 2.0], [0.5, -1.0]], [[-1.0, 1.0], [7.0, 7.0]]])
"""(examples, tokens, width); the last token is none of an answer."""


class Linear:
    """A learner whose model is a matrix: logits are inputs times it."""

    def __init__(self) -> None:
        self.matrix = torch.tensor([[0.5, -1.0, 2.0], [1.0, 0.0, -0.5]], requires_grad=True)

    def gradients(
        self, picks: Sequence[ExampleId], batch_size: int, of: Callable[[Outputs], torch.Tensor]
    ) -> Iterator[Tensors]:
        for _, row in picks:
            outputs = Outputs([("a", row)], INPUTS[[row]] @ self.matrix, ANSWERS[[row]])
            tokens = int((ANSWERS[row] != ENDED).sum())
            (gradient,) = torch.autograd.grad(of(outputs) / tokens, [self.matrix])
            yield {"w": gradient}


def test_the_squared_length_of_the_logits_counts_answer_tokens_alone() -> None:
    logits = torch.tensor([[[1.0, 2.0, 2.0], [0.0, 3.0, 4.0]], [[2.0, 0.0, 0.0], [9.0, 9.0, 9.0]]])
    outputs = Outputs([("a", 0), ("a", 1)], logits, ANSWERS)
    assert float(squared_logits(outputs)) == 9 + 25 + 4


def test_the_importance_is_the_mean_absolute_gradient_of_the_squared_logits() -> None:
    learner = Linear()
    importance = MAS(importance_batch=1).consolidate(learner, "a", 2)["w"]
    found = torch.zeros(2, 3)
    for row, tokens in ((0, 2), (1, 1)):
        inputs = INPUTS[row, :tokens]
        # d/dW mean |xW|^2 = 2 x^T x W, over the tokens
        found += (2 * inputs.T @ inputs @ learner.matrix.detach() / tokens).abs()
    assert torch.allclose(importance, found / found.sum())
    assert float(importance.sum()) == pytest.approx(1.0)


def test_the_signs_of_gradients_do_not_cancel() -> None:
    learner = GivenGradients([1.0, 0.0, 2.0], [-3.0, 1.0, 1.0])
    importance = MAS().consolidate(learner, "a", 8)
    # (1 + 3, 0 + 1, 2 + 1), in all 8
    assert importance["w"].tolist() == pytest.approx([4 / 8, 1 / 8])
    assert importance["v"].tolist() == pytest.approx([3 / 8])
    assert learner.of is squared_logits


def test_the_penalty_is_that_of_ewc_with_the_same_importance() -> None:
    start, kept = {"w": torch.tensor([1.0, -2.0])}, [{"w": torch.tensor([0.25, 0.75])}]
    paid = []
    for strategy in (MAS(strength=1e3, decay=0.5), EWC(strength=1e3, decay=0.5)):
        strategy.prepare(start, kept, StageContext(("b",), (("a",),)))
        paid.append(strategy.penalty_gradient({"w": torch.tensor([1.5, -1.0])})["w"])
    assert torch.equal(*paid)


def by_hand(worker: Worker, task: str, batch: int) -> Tensors:
    """Return the mean absolute gradient of the mean squared length of the logits, by autograd alone."""
    lmm, found = worker.rank_context.lmm, {}
    for first in range(0, 24, batch):
        picks = [(task, row) for row in range(first, first + batch)]
        logits, answers = lmm.answer_logits(worker.rank_context.data.training(picks))
        mean = logits.square().sum(-1)[answers != ENDED].mean()
        gradients = torch.autograd.grad(mean, list(lmm.trainable().values()), allow_unused=True)
        for name, gradient in zip(lmm.trainable(), gradients, strict=True):
            found[name] = found.get(name, 0) + (0 if gradient is None else gradient.abs())
    total = sum(float(value.sum()) for value in found.values())
    return {name: value / total for name, value in found.items()}


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_the_kept_importance_is_the_one_by_autograd_whatever_the_dropout(
    dropout: float, toy: Toy, tmp_path: Path
) -> None:
    chosen = config({"name": "mas", "importance_batch": 12}, epochs=1)
    walk = walked(toy.walk(adapted(chosen, dropout=dropout), tmp_path))
    kept = walk.store.tensors(walk.job(walk.paths[1]).kept_before[0])
    worker = walk.runner.worker
    set_weights(worker.rank_context.lmm, walk.store.tensors(walk.key(walk.paths[0])))
    worker.rank_context.lmm.model.eval()
    for name, value in by_hand(worker, "hue", 12).items():
        assert torch.allclose(kept[name], value, rtol=1e-3, atol=1e-9), name
