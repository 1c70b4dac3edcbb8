"""What a model says of a few examples: the logits at their answers' tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

ENDED = -100
"""Stands in `answers` where an answer has ended."""


@dataclass(frozen=True)
class Outputs:
    """Teacher-forced outputs of a micro-batch, at the positions of the answers."""

    picks: Sequence[tuple[str, int]]
    """The examples: task and row of each."""
    logits: torch.Tensor
    """(examples, longest answer, vocabulary), fp32."""
    answers: torch.Tensor
    """(examples, longest answer): the answers' tokens, then `ENDED`."""
    teacher: torch.Tensor | None = None
    """Logits of the model at the stage's start, of the same shape; for strategies with `needs_teacher`."""

    @property
    def within(self) -> torch.Tensor:
        """(examples, longest answer): whether an answer has a token there."""
        return self.answers != ENDED

    def nll(self, rows: Sequence[int] | None = None) -> torch.Tensor:
        """Negative log-likelihood of the answers, in nats, summed (a scalar); of some examples only."""
        logits = self.logits if rows is None else self.logits[list(rows)]
        answers = self.answers if rows is None else self.answers[list(rows)]
        return torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), answers.flatten(), ignore_index=ENDED, reduction="sum"
        )
