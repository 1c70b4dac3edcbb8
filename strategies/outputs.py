"""Outputs of a model on a micro-batch: the logits at the answers' tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

ENDED = -100
"""Padding of `answers` after an answer's last token."""


@dataclass(frozen=True)
class Outputs:
    """Teacher-forced outputs of a micro-batch at the positions of the answers."""

    picks: Sequence[tuple[str, int]]
    """The examples: task and row of each."""
    logits: torch.Tensor
    """(examples, longest answer, vocabulary), fp32."""
    answers: torch.Tensor
    """(examples, longest answer): the answers' tokens, then `ENDED`."""
    teacher: torch.Tensor | None = None
    """Teacher logits of the same shape, from the stage's start; None unless `needs_teacher`."""

    @property
    def within(self) -> torch.Tensor:
        """(examples, longest answer): True at the tokens of an answer."""
        return self.answers != ENDED

    def nll(self, rows: Sequence[int] | None = None) -> torch.Tensor:
        """Return the summed negative log-likelihood of the answers, or of those of `rows`, in nats."""
        logits = self.logits if rows is None else self.logits[list(rows)]
        answers = self.answers if rows is None else self.answers[list(rows)]
        return torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), answers.flatten(), ignore_index=ENDED, reduction="sum"
        )
