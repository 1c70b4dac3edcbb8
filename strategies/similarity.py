"""How similar tasks are, from what they show, ask and answer (He et al. 2023)."""

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
"""The modalities whose similarities are multiplied; the first is the paper's."""

TaskEmbedding = Mapping[str, torch.Tensor]
"""A task by modality: the mean of its examples' frozen vectors, of length 1; zero if it has none."""


def similarities(new: TaskEmbedding, old: Sequence[TaskEmbedding]) -> dict[str, tuple[float, ...]]:
    """By modality: the similarity of the new task to each old one.

    The cosines of all pairs among the tasks are standardised and put through a sigmoid, so that they
    lie between 0 and 1; of a single pair the cosine itself is taken.
    """
    return {name: _of_new([new[name], *(task[name] for task in old)]) for name in MODALITIES}


def _of_new(vectors: Sequence[torch.Tensor]) -> tuple[float, ...]:
    if len(vectors) < 2:
        return ()
    # Tasks without images have zeros that are as wide as no tower: to them, all cosines are 0.
    whole = pad_sequence([vector.double() for vector in vectors], batch_first=True)
    cosines = (whole @ whole.T).clamp(-1.0, 1.0)
    own = cosines[0, 1:]
    if len(vectors) > 2:
        rows, columns = torch.triu_indices(len(vectors), len(vectors), offset=1)
        pairs = cosines[rows, columns]
        # All pairs alike say nothing of which is more so: each is then in the middle.
        own = torch.sigmoid((own - pairs.mean()) / pairs.std().clamp(min=1e-12))
    return tuple(own.tolist())


def combine_signals(similarity: Mapping[str, Sequence[float]], signal: str) -> list[float]:
    """The product over the modalities that `signal` names, for each old task."""
    return [math.prod(values) for values in zip(*_chosen(similarity, signal), strict=True)]


def _chosen(similarity: Mapping[str, Sequence[float]], signal: str) -> list[Sequence[float]]:
    return [similarity[name] for name in signal.split("*")]


def random_similarity(new: str, old: str) -> float:
    """A number between 0 and 1 that two tasks' names decide: a control that knows nothing of them."""
    return int(hashlib.sha256(f"{new}\n{old}".encode()).hexdigest()[:12], 16) / 16**12
