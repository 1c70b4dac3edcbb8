"""Divergence of a stage's answers from the untrained model's, on tasks that nothing trains.

KL(base || tuned) on examples that no stage trains measures what training moved beside its tasks. The same
divergence on the new task is what Shenfeld, Pari and Agrawal 2025 (RL's Razor) find to predict forgetting.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.distributed as dist

from models.batching import Encoded
from models.lmm import LMM
from trainables.rank.engine import set_weights
from trainables.rank.evaluate import longest_prompt
from trainables.rank.rank_context import RankContext
from trainables.stage_job import StageJob

WINDOW = 1 << 28
"""Bytes of the untrained model's log-probabilities that a rank holds on its device between two swaps of
weights."""


def mean_kl(
    context: RankContext,
    job: StageJob,
    task: str,
    split: str,
    answering: Mapping[str, Sequence[int]],
) -> float | None:
    """Return the mean of KL(p_untrained || p_stage) over the tokens of a split's true answers, in nats.

    Both models read the true answers. `answering`: the rows that each weights' key answers; rows that the
    untrained model answers itself add 0. The rank's engine must be open, and is left with the weights of
    the last key. None if the divergence is not finite.
    """
    every = [row for rows in answering.values() for row in rows]
    lengths = [context.data.answer_length((task, row), split) for row in every]
    nats = sum(
        _nats(context, job, (task, split, key), rows, max(lengths))
        for key, rows in sorted(answering.items())
        if key != job.base
    )
    # Rounding may leave a sum a little below 0.
    return max(0.0, nats / sum(lengths)) if math.isfinite(nats) else None


def _nats(
    context: RankContext,
    job: StageJob,
    scored: tuple[str, str, str],
    rows: Sequence[int],
    longest: int,
) -> float:
    """Return the divergence summed over the answer tokens of all rows, equal on every rank.

    `scored`: task, split and key of the weights. `longest`: tokens of the longest answer.
    """
    (task, split, key), data, lmm = scored, context.data, context.lmm
    own, repeated = _own_rows(context, rows)
    at_once = lmm.answers_at_once(longest_prompt(data, task, split) + longest)
    window = _window(lmm, longest)
    untrained, trained = (context.weights(k, job) for k in (job.base, key))
    nats = torch.zeros((), dtype=torch.float64, device=lmm.device)
    for first in range(0, len(own), window):
        of_window = range(first, min(first + window, len(own)))
        batches = [of_window[i : i + at_once] for i in range(0, len(of_window), at_once)]
        inputs = [[data.encoded(task, split, own[i]) for i in batch] for batch in batches]
        set_weights(lmm, untrained)
        before = [_log_probabilities(lmm, batch)[0] for batch in inputs]
        set_weights(lmm, trained)
        for batch, encoded, reference in zip(batches, inputs, before, strict=True):
            found, answered = _log_probabilities(lmm, encoded)
            answered[[i in repeated for i in batch]] = False
            terms = torch.nn.functional.kl_div(found, reference, reduction="none", log_target=True)
            nats += terms.sum(dim=-1)[answered].sum(dtype=torch.float64)
    if context.workers > 1:
        dist.all_reduce(nats)
    return float(nats)


def _own_rows(context: RankContext, rows: Sequence[int]) -> tuple[list[int], range]:
    """Return the rows of this rank, as many on every rank, and the places of repeated ones among them.

    With ZeRO-3 each forward pass is collective: ranks with fewer rows read the last one again.
    """
    share, size = -(-len(rows) // context.workers), len(rows)
    first = context.rank * share
    own = [rows[min(first + i, size - 1)] for i in range(share)]
    return own, range(max(0, min(share, size - first)), share)


def _window(lmm: LMM, longest: int) -> int:
    """Return the number of rows whose log-probabilities fit into `WINDOW`, at least one."""
    vocabulary = lmm.base.config.get_text_config().vocab_size
    return max(1, WINDOW // (4 * vocabulary * longest))


def _log_probabilities(lmm: LMM, batch: Sequence[Encoded]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the log-probabilities at the answers' tokens, and where a token is no padding.

    They are (examples, longest answer, vocabulary) in fp32, and (examples, longest answer).
    """
    logits, answers = lmm.inference_logits(batch)
    return torch.log_softmax(logits, dim=-1), answers >= 0
