"""Similarity of tasks from their images, instructions and answers (He et al. 2023)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence

import torch
from torch.nn.utils.rnn import pad_sequence

MODALITIES = ("image", "instruction", "answer")
SIGNALS = (
    *("image*instruction*answer", "image*instruction", "image*answer", "instruction*answer"),
    *("image", "instruction", "answer"),
)
"""Modalities whose similarities are multiplied; the first is the paper's."""

TaskEmbedding = Mapping[str, torch.Tensor]
"""Mean of a task's frozen example vectors by modality, of length 1; zero if it has none."""


def similarities(new: TaskEmbedding, old: Sequence[TaskEmbedding]) -> dict[str, tuple[float, ...]]:
    """Return the similarity of the new task to each old one, by modality.

    The cosines of all pairs of tasks are standardised and put through a sigmoid, so that they lie
    between 0 and 1. For a single pair the cosine itself is the similarity.
    """
    return {name: _to_first([new[name], *(task[name] for task in old)]) for name in MODALITIES}


def _to_first(vectors: Sequence[torch.Tensor]) -> tuple[float, ...]:
    if len(vectors) < 2:
        return ()
    # A task without images has a zero vector of another width than the tower's: its cosines are 0.
    whole = pad_sequence([vector.double() for vector in vectors], batch_first=True)
    cosines = (whole @ whole.T).clamp(-1.0, 1.0)
    similarity = cosines[0, 1:]
    if len(vectors) > 2:
        rows, columns = torch.triu_indices(len(vectors), len(vectors), offset=1)
        pairs = cosines[rows, columns]
        # If all pairs are equally similar, the clamp puts each in the middle.
        similarity = torch.sigmoid((similarity - pairs.mean()) / pairs.std().clamp(min=1e-12))
    return tuple(similarity.tolist())


def combine_signals(similarity: Mapping[str, Sequence[float]], signal: str) -> list[float]:
    """Return for each old task the product over the modalities that `signal` names."""
    return [math.prod(values) for values in zip(*_chosen(similarity, signal), strict=True)]


def _chosen(similarity: Mapping[str, Sequence[float]], signal: str) -> list[Sequence[float]]:
    return [similarity[name] for name in signal.split("*")]


def random_similarity(new: str, old: str) -> float:
    """Return a number between 0 and 1 from two tasks' names: a control without information."""
    return int(hashlib.sha256(f"{new}\n{old}".encode()).hexdigest()[:12], 16) / 16**12
