"""Scoring of a split: greedy answers in batches, shared out over the ranks, and the task's metric."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.distributed as dist

from models.lmm import LMM
from tasks import AnsweredQuestion, Task, score_split
from trainables.rank.data import Data
from trainables.rank.engine import generating

SAMPLED = 16
"""Examples from which the longest prompt of a split is estimated."""


def generate_answers(
    lmm: LMM, data: Data, task: str, split: str, zero: int, only: Sequence[int] | None = None
) -> list[str]:
    """Answer a task's split, or the rows `only`; return the texts in their order, equal on every rank."""
    rank, workers = dist.get_rank(), dist.get_world_size()
    chosen = range(len(data.examples(task, split))) if only is None else only
    size = len(chosen)
    share = -(-size // workers)
    # With ZeRO-3 each call is collective: ranks with fewer rows answer the last one again.
    rows = [chosen[min(rank * share + i, size - 1)] for i in range(share)]
    texts: list[str] = []
    length = data.benchmark.tasks[task].max_new_tokens
    with generating(lmm):
        at_once = lmm.answers_at_once(longest_prompt(data, task, split) + length)
        for i in range(0, share, at_once):
            batch = [data.encoded(task, split, row) for row in rows[i : i + at_once]]
            texts += lmm.answers(batch, length, synced=zero == 3 and workers > 1)
    if workers == 1:
        return texts
    shares: list[list[str]] = [[] for _ in range(workers)]
    dist.all_gather_object(shares, texts)
    return [text for share in shares for text in share][:size]


def longest_prompt(data: Data, task: str, split: str) -> int:
    """Estimate the tokens of a split's longest prompt: that of a sample, and a quarter more."""
    size = len(data.examples(task, split))
    rows = range(0, size, max(1, size // SAMPLED))
    return max(data.encoded(task, split, row).length for row in rows) * 5 // 4


def score_record(task: Task, split: str, predictions: Sequence[str]) -> dict[str, Any]:
    """Return the fields of a `ScoreRecord`: scores, and all answers, for other metrics to be applied."""
    examples = task.examples(split)
    pairs = list(zip(examples, predictions, strict=True))
    marks = score_split(
        task.metric,
        [AnsweredQuestion(text, e.answers, e.prompt) for e, text in pairs],
        task.answer_format or ("closed" if task.closed else ""),
        task.answer_set(),
    )
    return {
        "task": task.name,
        "split": split,
        "metric": task.metric,
        **marks.values(),
        "predictions": [
            {"id": e.id, "prompt": e.prompt, "prediction": text, "answers": list(e.answers)}
            | marks.of(row)
            for row, (e, text) in enumerate(pairs)
        ],
    }
