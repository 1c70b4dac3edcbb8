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
from trainables.rank.engine import Engine, GradientChange
from trainables.rank.rank_context import RankContext
from trainables.rank.teacher import Teacher


class Loop:
    """One rank's training of a stage: for each batch, forward, backward and update, with the hooks."""

    def __init__(
        self, context: RankContext, engine: Engine, config: TrialConfig, strategy: Strategy
    ) -> None:
        self.context, self.engine, self.strategy = context, engine, strategy
        self.config = config
        self.gradient_examples: set[ExampleId] = set()
        """The examples whose gradient was computed, those of `memory_batch` included."""
        self._teacher: Teacher | None = None

    def train(self, batches: Sequence[Batch], start: Tensors) -> list[float]:
        """Train on every batch from the weights `start`; return each batch's mean loss.

        A loss is in nats per answer token.
        """
        if self.strategy.needs_teacher():
            self._teacher = Teacher(self.context, self.engine, batches, self.config, start)
        losses = [self._train_batch(step, batch) for step, batch in enumerate(batches)]
        if self.context.workers > 1:
            loss_shares = torch.tensor(losses, device=self.context.lmm.device)
            dist.all_reduce(loss_shares)
            losses = loss_shares.tolist()
        return losses

    def _train_batch(self, step: int, batch: Batch) -> float:
        """Update the weights by one batch; return this rank's share of the batch's mean loss."""
        engine, strategy, change = self.engine, self.strategy, GradientChange()
        if self._teacher:
            self._teacher.start_step(step)
        # The last batch of an epoch may be smaller; that of the memory is always full.
        if memory := strategy.memory_batch(step, self.config.training.batch_size):
            self._forward_backward(memory, distil=False)
            memory_gradient = engine.take_gradients()
            change = GradientChange(
                project=functools.partial(strategy.project, memory_gradient=memory_gradient)
            )
        loss_share = self._forward_backward(batch)
        if strategy.has_penalty():
            change = dataclasses.replace(
                change, penalty_gradient=strategy.penalty_gradient(engine.weights())
            )
        engine.step(change)
        return loss_share

    def _forward_backward(self, batch: Batch, distil: bool = True) -> float:
        """Accumulate the gradient of a batch; return this rank's share of its mean loss.

        With `distil` the strategy's distillation is added to the loss. DeepSpeed needs `engine.step` after
        every micro-batch. After the last one it updates the weights, so that call is left to the caller.
        """
        context, engine = self.context, self.engine
        passes = self.config.training.accumulation(context.workers)
        own_micro_batches = micro_batches(batch, passes, context.rank, context.workers)
        tokens, loss_share = context.answer_tokens(batch), 0.0
        for micro_batch in own_micro_batches:
            # DeepSpeed divides by ranks and micro-batches. Multiplying by both makes the batch's
            # gradient that of its mean loss per answer token, however the batch is shared out.
            scale = context.workers * passes / tokens
            if micro_batch:
                outputs = self._forward(micro_batch, distil)
                loss = outputs.nll()
                loss_share += float(loss.detach()) / tokens
                distillation = self.strategy.distil(outputs) if distil else None
                loss = loss if distillation is None else loss + distillation
                engine.backward(loss * scale)
            else:
                self._add_nothing(batch)
            if not engine.ends_batch:
                engine.step()
        self.gradient_examples.update(batch)
        return loss_share

    def _add_nothing(self, batch: Batch) -> None:
        """Pass forward and backward with factor 0, for a rank whose micro-batch is empty.

        Passes are collective: every rank must make the same number.
        """
        self.engine.backward(self.context.forward(self.engine, batch[:1]).nll() * 0.0)

    def _forward(self, micro_batch: Batch, distil: bool) -> Outputs:
        """Run the forward pass of a micro-batch; add the teacher's logits if `distil` needs them."""
        outputs = self.context.forward(self.engine, micro_batch)
        if not (self._teacher and distil):
            return outputs
        teacher = self._teacher.logits_of(micro_batch, outputs.logits)
        return dataclasses.replace(outputs, teacher=teacher)
