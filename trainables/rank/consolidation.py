"""The calls that `consolidate` may make: gradients, outputs and embeddings of training examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch

from models.lmm import without_dropout
from strategies import ExampleId, Outputs, Queries, Tensors
from trainables.config import TrialConfig
from trainables.rank.batching import micro_batches
from trainables.rank.engine import open_engine, without_updates
from trainables.rank.rank_context import RankContext

QUERY_EXAMPLES = 2000
"""Largest number of examples that an expert's keys are trained on; more hardly move their mean."""


class StageLearner:
    """A rank's implementation of `strategies.Learner`, with the weights of a trained stage."""

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
        """Yield the gradient of `of` per answer token of each batch, without dropout.

        A batch has `batch_size` examples, however many ranks share it out; the last may have fewer.
        """
        context, workers = self.context, self.context.workers
        share = -(-batch_size // workers)
        passes = -(-share // self.config.training.per_pass(workers))
        micro = -(-share // passes)
        training = without_updates(self.config.training, micro * passes * workers, micro)
        with (
            open_engine(context.lmm, training, workers, self._weights, 1) as engine,
            without_dropout(context.lmm.model),
        ):
            for i in range(0, len(picks), batch_size):
                batch = list(picks[i : i + batch_size])
                scale = workers * passes / context.answer_tokens(batch)
                for own in micro_batches(batch, passes, context.rank, workers):
                    # A rank whose micro-batch is empty computes one with factor 0: passes are collective.
                    outputs = context.forward(engine, own or batch[:1])
                    engine.backward(of(outputs) * (scale if own else 0.0))
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
