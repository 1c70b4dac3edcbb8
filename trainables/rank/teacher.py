"""Teacher's logits: those of the model at the stage's start, computed for a window of batches at a time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist

from models.loading import DTYPES
from strategies import ExampleId, Tensors
from trainables.config import TrialConfig
from trainables.rank.batching import Batch, micro_batches
from trainables.rank.engine import Engine
from trainables.rank.rank_context import RankContext

WINDOW = 1 << 30
"""Bytes of logits that all ranks together hold at once."""


class Teacher:
    """Logits (answer tokens, vocabulary) of the examples that this rank trains on in a window of batches.

    At the start of each window but the first, the start weights are swapped in to compute its logits.
    """

    def __init__(
        self,
        context: RankContext,
        engine: Engine,
        batches: Sequence[Batch],
        config: TrialConfig,
        start: Tensors,
    ) -> None:
        self.context, self.engine, self.batches, self.start = context, engine, batches, start
        self.micro_batch_size = config.training.per_pass(context.workers)
        self.passes = config.training.accumulation(context.workers)
        self.precision = DTYPES[config.training.precision]
        self.windows = self._windows()
        """First step of each window -> first step after it; the same on every rank."""
        self._logits: dict[ExampleId, torch.Tensor] = {}

    def start_step(self, step: int) -> None:
        """Compute the logits of the next window if one begins at `step`; call it before each step."""
        if step not in self.windows:
            return
        self._logits = {}
        picks = self._picks(self.batches[step : self.windows[step]])
        if step == 0:
            self._compute_logits(picks)
            return
        with self.engine.temporary_weights(self.start):
            self._compute_logits(picks)

    def logits_of(self, picks: Sequence[ExampleId], like: torch.Tensor) -> torch.Tensor:
        """Return the logits of some examples, padded with zeros to the shape and device of `like`."""
        padded = torch.zeros_like(like)
        for index, pick in enumerate(picks):
            logits = self._logits[pick]
            padded[index, : len(logits)] = logits.to(like)
        return padded

    def _windows(self) -> dict[int, int]:
        """Split the steps into windows of at most `WINDOW` bytes of logits, or of one step."""
        text = self.context.lmm.base.config.get_text_config()
        token_bytes = text.vocab_size * torch.empty(0, dtype=self.precision).element_size()
        windows, begin, window_bytes = {}, 0, 0
        for step, batch in enumerate(self.batches):
            size = token_bytes * sum(self.context.data.answer_length(pick) for pick in batch)
            if window_bytes and window_bytes + size > WINDOW:
                windows[begin], begin, window_bytes = step, step, 0
            window_bytes += size
        return windows | {begin: len(self.batches)}

    def _picks(self, window: Sequence[Batch]) -> list[ExampleId]:
        """List the examples of a window that this rank trains on, in the order of their rows."""
        rank, workers = self.context.rank, self.context.workers
        own = [m for batch in window for m in micro_batches(batch, self.passes, rank, workers)]
        return sorted({pick for micro_batch in own for pick in micro_batch})

    def _compute_logits(self, picks: Sequence[ExampleId]) -> None:
        """Cache the logits of `picks` on the CPU, in the precision of training."""
        lmm, data, size = self.context.lmm, self.context.data, self.micro_batch_size
        # Every rank makes the same number of calls, for with ZeRO-3 each call is a collective one.
        calls = torch.tensor(-(-len(picks) // size), device=lmm.device)
        if self.context.workers > 1:
            dist.all_reduce(calls, op=dist.ReduceOp.MAX)
        for start in range(0, int(calls) * size, size):
            batch = list(picks[start : start + size]) or self.batches[0][:1]
            logits, answers = lmm.inference_logits(data.training(batch))
            for pick, row, tokens in zip(batch, logits, answers, strict=True):
                # Cloned, since a view would keep the whole batch in memory.
                cached = row[: int((tokens >= 0).sum())].to("cpu", self.precision)
                self._logits[pick] = cached.clone()
