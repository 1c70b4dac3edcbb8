"""What a strategy may ask of the loop after a stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from strategies import ExampleId, Outputs, Queries, Tensors
from trainables.config import TrialConfig
from trainables.rank.data import micro_batches
from trainables.rank.engine import open_engine, without_updates

if TYPE_CHECKING:
    from trainables.rank.worker import Worker


QUERY_EXAMPLES = 2000
"""Examples that keys are trained on: their mean direction hardly moves with more."""


class StageLearner:
    """A worker at the end of a stage; see `strategies.Learner`."""

    def __init__(self, worker: Worker, config: TrialConfig, weights: Tensors) -> None:
        self.worker = worker
        self.config = config
        self._weights = weights

    def shuffled(self, task: str) -> Sequence[int]:
        """A permutation of a task's training rows; see `Data.shuffled`."""
        return self.worker.data.shuffled(task)

    def queries(self, task: str) -> Queries:
        """What the task's training examples are looked up by; of at most `QUERY_EXAMPLES`, spread over them."""
        return self.worker.embedder.queries(task, "train", QUERY_EXAMPLES)

    def gradients(
        self,
        picks: Sequence[ExampleId],
        batch_size: int,
        of: Callable[[Outputs], torch.Tensor] = Outputs.nll,
    ) -> Iterator[Tensors]:
        """The gradient of `of` per answer token of each batch; the last may repeat examples.

        A batch has `batch_size` examples, or as many more as ranks need to share it out evenly.
        """
        worker = self.worker
        share_size = -(-batch_size // worker.workers)
        size = share_size * worker.workers
        most = self.config.training.per_pass(worker.workers)
        micro = max(n for n in range(1, share_size + 1) if share_size % n == 0 and n <= most)
        training = without_updates(self.config.training, size, micro)
        full = [picks[i % len(picks)] for i in range(-(-len(picks) // size) * size)]
        with open_engine(worker.lmm, training, worker.workers, self._weights, 1) as engine:
            for i in range(0, len(full), size):
                batch = full[i : i + size]
                shares = micro_batches(batch, micro, worker.rank, worker.workers)
                scale = worker.workers * len(shares) / worker.answer_tokens(batch)
                for share in shares:
                    engine.backward(of(worker.outputs(engine, share)) * scale)
                    if not engine.ends_batch:
                        engine.step()
                yield engine.gradients()
                engine.step()

    @torch.no_grad()
    def outputs(self, picks: Sequence[ExampleId], batch_size: int) -> Iterator[Outputs]:
        """What the model says of each batch, without dropout; every rank looks at all of them."""
        worker = self.worker
        training = without_updates(self.config.training, worker.workers, 1)
        with open_engine(worker.lmm, training, worker.workers, self._weights, 1):
            for i in range(0, len(picks), batch_size):
                batch = list(picks[i : i + batch_size])
                yield Outputs(batch, *worker.lmm.inference_logits(worker.data.training(batch)))
