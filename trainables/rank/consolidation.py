"""The calls of the loop that a strategy may make after a stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch

from strategies import ExampleId, Outputs, Queries, Tensors
from trainables.config import TrialConfig
from trainables.rank.batching import micro_batches
from trainables.rank.engine import open_engine, without_updates
from trainables.rank.rank_context import RankContext

QUERY_EXAMPLES = 2000
"""Examples that keys are trained on: their mean direction hardly moves with more."""


class StageLearner:
    """A rank at the end of a stage; see `strategies.Learner`."""

    def __init__(
        self,
        context: RankContext,
        config: TrialConfig,
        weights: Tensors,
        by_products: Tensors | None = None,
    ) -> None:
        self.context = context
        self.config = config
        self.by_products = by_products or {}
        self._weights = weights

    def shuffled(self, task: str) -> Sequence[int]:
        """Return a permutation of a task's training rows; see `Data.shuffled`."""
        return self.context.data.shuffled(task)

    def queries(self, task: str) -> Queries:
        """Embed at most `QUERY_EXAMPLES` training examples of a task, spread over all of them."""
        return self.context.embedder.queries(task, "train", QUERY_EXAMPLES)

    def gradients(
        self,
        picks: Sequence[ExampleId],
        batch_size: int,
        of: Callable[[Outputs], torch.Tensor] = Outputs.nll,
    ) -> Iterator[Tensors]:
        """Yield the gradient of `of` per answer token of each batch; the last may repeat examples.

        A batch has `batch_size` examples, or as many more as ranks need to share it out evenly.
        """
        context = self.context
        share_size = -(-batch_size // context.workers)
        size = share_size * context.workers
        most = self.config.training.per_pass(context.workers)
        micro = max(n for n in range(1, share_size + 1) if share_size % n == 0 and n <= most)
        training = without_updates(self.config.training, size, micro)
        full = [picks[i % len(picks)] for i in range(-(-len(picks) // size) * size)]
        with open_engine(context.lmm, training, context.workers, self._weights, 1) as engine:
            for i in range(0, len(full), size):
                batch = full[i : i + size]
                own = micro_batches(batch, micro, context.rank, context.workers)
                scale = context.workers * len(own) / context.answer_tokens(batch)
                for micro_batch in own:
                    engine.backward(of(context.forward(engine, micro_batch)) * scale)
                    if not engine.ends_batch:
                        engine.step()
                yield engine.gradients()
                engine.step()

    @torch.no_grad()
    def outputs(self, picks: Sequence[ExampleId], batch_size: int) -> Iterator[Outputs]:
        """Yield the outputs of each batch without dropout; every rank computes all of them."""
        context = self.context
        training = without_updates(self.config.training, context.workers, 1)
        with open_engine(context.lmm, training, context.workers, self._weights, 1):
            for i in range(0, len(picks), batch_size):
                batch = list(picks[i : i + batch_size])
                yield Outputs(batch, *context.lmm.inference_logits(context.data.training(batch)))
