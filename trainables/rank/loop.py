"""The training loop of one stage, with the strategy's hooks in their places."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import torch
import torch.distributed as dist

from strategies import ExampleId, Outputs, Strategy, Tensors
from trainables.config import TrialConfig
from trainables.rank.batching import Batch, micro_batches
from trainables.rank.engine import Change, Engine
from trainables.rank.rank_context import RankContext
from trainables.rank.teacher import Teacher


class Loop:
    """One rank's forward passes, backward passes and updates of a stage."""

    def __init__(
        self, context: RankContext, engine: Engine, config: TrialConfig, strategy: Strategy
    ) -> None:
        self.context, self.engine, self.strategy = context, engine, strategy
        self.config = config
        self.trained_on: set[ExampleId] = set()
        """The examples whose gradient was computed, those of `memory_batch` included."""
        self._teacher: Teacher | None = None

    def train(self, plan: Sequence[Batch], start: Tensors) -> list[float]:
        """Train on every batch of `plan` from the weights `start`; return each batch's mean loss.

        A loss is in nats per answer token.
        """
        if self.strategy.needs_teacher():
            self._teacher = Teacher(self.context, self.engine, plan, self.config, start)
        losses = [self._train_batch(step, batch) for step, batch in enumerate(plan)]
        if self.context.workers > 1:
            parts = torch.tensor(losses, device=self.context.lmm.device)
            dist.all_reduce(parts)
            losses = parts.tolist()
        return losses

    def _train_batch(self, step: int, batch: Batch) -> float:
        """Update the weights by one batch; return this rank's share of its mean loss."""
        engine, strategy, change = self.engine, self.strategy, Change()
        if self._teacher:
            self._teacher.start_step(step)
        if memory := strategy.memory_batch(step, len(batch)):
            self._forward_backward(memory, distil=False)
            memory_gradient = engine.take_gradients()
            change = Change(
                project=functools.partial(strategy.project, memory_gradient=memory_gradient)
            )
        loss = self._forward_backward(batch)
        if strategy.has_penalty():
            change = dataclasses.replace(change, penalty=strategy.penalty(engine.weights()))
        engine.step(change)
        return loss

    def _forward_backward(self, batch: Batch, distil: bool = True) -> float:
        """Accumulate the gradient of a batch; return this rank's share of its mean loss.

        With `distil` the strategy's distillation is added to the loss. The caller makes the step after
        the last micro-batch.
        """
        context, engine = self.context, self.engine
        micro_batch = self.config.training.per_pass(context.workers)
        shares = micro_batches(batch, micro_batch, context.rank, context.workers)
        tokens, mean_loss = context.answer_tokens(batch), 0.0
        for share in shares:
            outputs = self._forward(share, distil)
            loss = outputs.nll()
            mean_loss += float(loss.detach()) / tokens
            distillation = self.strategy.distil(outputs) if distil else None
            loss = (loss if distillation is None else loss + distillation) / tokens
            # DeepSpeed averages over ranks and micro-batches: scaled so that the batch's
            # gradient is that of the mean over its answer tokens, however it is shared out.
            engine.backward(loss * (context.workers * len(shares)))
            if not engine.ends_batch:
                engine.step()
        self.trained_on.update(batch)
        return mean_loss

    def _forward(self, share: Batch, distil: bool) -> Outputs:
        """Run the forward pass of a micro-batch; add the teacher's logits where they are asked for."""
        outputs = self.context.forward(self.engine, share)
        if not (self._teacher and distil):
            return outputs
        teacher = self._teacher.logits_of(share, outputs.logits)
        return dataclasses.replace(outputs, teacher=teacher)
