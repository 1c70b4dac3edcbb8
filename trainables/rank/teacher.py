"""What the model said of a stage's examples before the stage, learned a window of batches at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from models.loading import DTYPES
from strategies import ExampleId, Tensors
from trainables.config import TrialConfig
from trainables.rank.data import Batch, micro_batches

if TYPE_CHECKING:
    from trainables.rank.engine import Engine
    from trainables.rank.worker import Worker

WINDOW = 1 << 30
"""Bytes of logits that all ranks together hold at once."""


class Teacher:
    """Logits (answer tokens, vocabulary) of the examples that this rank meets in a window of batches.

    Where not all of a stage fits into a window, the start weights come back for a moment at the start of
    each further one.
    """

    def __init__(
        self,
        worker: Worker,
        engine: Engine,
        plan: Sequence[Batch],
        config: TrialConfig,
        start: Tensors,
    ) -> None:
        self.worker, self.engine, self.plan, self.start = worker, engine, plan, start
        self.micro = config.training.per_pass(worker.workers)
        self.precision = DTYPES[config.training.precision]
        self.windows = self._windows()
        self._logits: dict[ExampleId, torch.Tensor] = {}

    def learn(self, step: int) -> None:
        """Before each step: where a window begins, what the model said of its examples."""
        if step not in self.windows:
            return
        self._logits = {}
        mine = self._mine(self.plan[step : self.windows[step]])
        if step == 0:
            self._look(mine)
            return
        with self.engine.temporary_weights(self.start):
            self._look(mine)

    def of(self, picks: Sequence[ExampleId], like: torch.Tensor) -> torch.Tensor:
        """The logits of some examples, padded with zeros to the shape of `like`, and where it is."""
        found = torch.zeros_like(like)
        for place, pick in enumerate(picks):
            logits = self._logits[pick]
            found[place, : len(logits)] = logits.to(like)
        return found

    def _windows(self) -> dict[int, int]:
        """Where windows begin and end, the same on every rank: in steps."""
        text = self.worker.lmm.base.config.get_text_config()
        each = text.vocab_size * torch.empty(0, dtype=self.precision).element_size()
        found, begin, held = {}, 0, 0
        for step, batch in enumerate(self.plan):
            size = each * sum(self.worker.data.answer_length(pick) for pick in batch)
            if held and held + size > WINDOW:
                found[begin], begin, held = step, step, 0
            held += size
        return found | {begin: len(self.plan)}

    def _mine(self, window: Sequence[Batch]) -> list[ExampleId]:
        """The examples of a window that this rank meets, in the order of their rows."""
        rank, workers = self.worker.rank, self.worker.workers
        shares = [s for batch in window for s in micro_batches(batch, self.micro, rank, workers)]
        return sorted({pick for share in shares for pick in share})

    def _look(self, mine: Sequence[ExampleId]) -> None:
        lmm, data = self.worker.lmm, self.worker.data
        # Every rank makes the same number of calls, for with ZeRO-3 each call is a collective one.
        calls = torch.tensor(-(-len(mine) // self.micro), device=lmm.device)
        if self.worker.workers > 1:
            dist.all_reduce(calls, op=dist.ReduceOp.MAX)
        for start in range(0, int(calls) * self.micro, self.micro):
            part = list(mine[start : start + self.micro]) or [mine[-1]]
            logits, answers = lmm.inference_logits(data.training(part))
            for pick, of_one, tokens in zip(part, logits, answers, strict=True):
                # Not a view, which would keep the whole batch.
                kept = of_one[: int((tokens >= 0).sum())].to("cpu", self.precision)
                self._logits[pick] = kept.clone()
