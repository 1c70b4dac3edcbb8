"""The order of a stage's examples: shuffled epochs, cut into batches that ranks share out."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import torch

from spaces.training import Training
from strategies import ExampleId
from trainables.store.digest import digest

SORTED_BATCHES = 16
"""Number of batches whose examples are sorted by length together: many save padding, few mix tasks."""
Batch = list[ExampleId]
"""Examples of one optimizer step, over all ranks."""
Lengths = Mapping[str, Sequence[int]]
"""Lengths of each task's training prompts, by row."""


def permutation(size: int, key: str) -> list[int]:
    """Return the permutation of range(size) that is seeded by `key`, a hexadecimal digest."""
    generator = torch.Generator().manual_seed(int(key[:12], 16))
    return torch.randperm(size, generator=generator).tolist()


def batches(
    picks: Sequence[ExampleId], training: Training, seed: int, lengths: Lengths | None = None
) -> list[Batch]:
    """Cut a stage's examples, shuffled anew for each epoch, into batches.

    With `last_batch` train, the last batch of an epoch may be smaller. With drop, the examples left over
    open the next epoch; those of the last epoch are not trained. Fewer examples than one batch are repeated
    to fill it.

    With `lengths` the prompts of a batch are of similar length. Each run of `SORTED_BATCHES` batches of an
    epoch is sorted by length, and the batches come in a random order. Answers are not sorted by their
    length: where they are classes, a batch would hold one or two of them, and nothing would be learnt.
    """
    size = training.batch_size
    epochs: list[list[ExampleId]] = []
    for epoch in range(training.epochs):
        shuffled = [picks[i] for i in permutation(len(picks), digest(seed, "epoch", epoch))]
        key = digest(seed, "grouped", epoch)
        epochs.append(_grouped(shuffled, size, lengths, key) if lengths else shuffled)
    if training.last_batch == "train":
        return [batch for examples in epochs for batch in _cut(examples, size)]
    stream = [pick for examples in epochs for pick in examples]
    while len(stream) < size:
        stream += stream
    return _cut(stream[: len(stream) // size * size], size)


def _grouped(picks: Batch, size: int, lengths: Lengths, key: str) -> list[ExampleId]:
    """Order one epoch's examples so that batches have similar lengths; the rest comes last."""
    sorted_batches: list[Batch] = []
    whole = len(picks) // size * size
    for run in _cut(picks[:whole], size * SORTED_BATCHES):
        by_length = sorted(run, key=lambda pick: lengths[pick[0]][pick[1]])
        sorted_batches += _cut(by_length, size)
    mixed = [sorted_batches[i] for i in permutation(len(sorted_batches), key)]
    return [pick for batch in mixed for pick in batch] + picks[whole:]


def _cut(stream: Sequence[ExampleId], size: int) -> list[Batch]:
    return [list(stream[i : i + size]) for i in range(0, len(stream), size)]


def micro_batches(batch: Sequence[ExampleId], passes: int, rank: int, workers: int) -> list[Batch]:
    """Return the `passes` micro-batches of a batch that one rank trains on.

    The batch is cut into `passes` x `workers` equal parts, and each rank takes every `workers`-th. Parts of
    a batch that is not full are smaller, and may be empty.
    """
    parts = passes * workers
    bounds = [-(-len(batch) * part // parts) for part in range(parts + 1)]
    cut = [list(batch[first:end]) for first, end in itertools.pairwise(bounds)]
    return cut[rank::workers]
