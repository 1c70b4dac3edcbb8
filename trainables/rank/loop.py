"""The training loop of one stage: batch after batch, with the strategy's hooks in their places."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from strategies import ExampleId, Strategy, Tensors
from trainables.config import TrialConfig
from trainables.rank.data import Batch, micro_batches
from trainables.rank.engine import Change, Engine
from trainables.rank.teacher import Teacher

if TYPE_CHECKING:
    from trainables.rank.worker import Worker


class Loop:
    """A stage's batches on their way through the engine of one rank."""

    def __init__(
        self, worker: Worker, engine: Engine, config: TrialConfig, strategy: Strategy
    ) -> None:
        self.worker, self.engine, self.config, self.strategy = worker, engine, config, strategy
        self.seen: set[ExampleId] = set()
        """The examples that training has looked at."""
        self._teacher: Teacher | None = None

    def train(self, plan: Sequence[Batch], start: Tensors) -> list[float]:
        """Train all batches from the weights `start`; returns the mean loss per answer token of each."""
        if self.strategy.needs_teacher():
            self._teacher = Teacher(self.worker, self.engine, plan, self.config, start)
        losses = [self._step(step, batch) for step, batch in enumerate(plan)]
        if self.worker.workers > 1:
            parts = torch.tensor(losses, device=self.worker.lmm.device)
            dist.all_reduce(parts)
            losses = parts.tolist()
        return losses

    def _step(self, step: int, batch: Batch) -> float:
        """One batch: its gradient, what the strategy makes of it, AdamW; this rank's share of its loss."""
        strategy, engine, change = self.strategy, self.engine, Change()
        if self._teacher:
            self._teacher.learn(step)
        if held := strategy.memory_batch(step, len(batch)):
            self._backward(held, distilled=False)
            project = functools.partial(strategy.project, memory_gradient=engine.take_gradients())
            change = Change(project=project)
        loss = self._backward(batch)
        if strategy.has_penalty():
            change = dataclasses.replace(change, penalty=strategy.penalty(engine.weights()))
        engine.step(change)
        return loss

    def _backward(self, batch: Batch, distilled: bool = True) -> float:
        """Add up the gradient of the loss, and of what is paid beside it if `distilled`.

        The step after the last micro-batch is left to the caller. Returns this rank's share of the mean
        loss per answer token.
        """
        worker, micro = self.worker, self.config.training.per_pass(self.worker.workers)
        shares = micro_batches(batch, micro, worker.rank, worker.workers)
        tokens, total = worker.answer_tokens(batch), 0.0
        for share in shares:
            outputs = worker.outputs(self.engine, share, self._teacher if distilled else None)
            loss = outputs.nll()
            total += float(loss.detach()) / tokens
            paid = self.strategy.distil(outputs) if distilled else None
            loss = (loss if paid is None else loss + paid) / tokens
            # DeepSpeed averages over ranks and micro-batches: scaled so that the batch's
            # gradient is that of the mean over its answer tokens, however it is shared out.
            self.engine.backward(loss * (worker.workers * len(shares)))
            if not self.engine.ends_batch:
                self.engine.step()
        self.seen.update(batch)
        return total
