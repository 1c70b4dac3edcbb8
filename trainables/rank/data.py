"""The examples of a benchmark as one rank meets them: encoded once, in batches that ranks share out."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence

import torch

from models.batching import QUERIES, Encoded, encode
from models.lmm import LMM
from models.loading import IMAGES_PER_CALL
from spaces.training import Training
from strategies import ExampleId
from tasks import Benchmark
from tasks.data.rows import Rows
from trainables.rank.features import FeatureReader
from trainables.store.digest import digest

CACHE_BYTES = 1 << 30
SORTED_BATCHES = 16
"""Batches among which examples are sorted by length: enough to save padding, few enough to mix tasks."""
Batch = list[ExampleId]
Lengths = Mapping[str, Sequence[int]]
"""Lengths of each task's training prompts, by row."""


class Data:
    """Encoded examples by (task, split, row), the latest gigabyte of them kept in memory."""

    def __init__(
        self,
        benchmark: Benchmark,
        lmm: LMM,
        seed: int,
        longest: int = 0,
        seen: FeatureReader | None = None,
    ) -> None:
        self.benchmark = benchmark
        self.lmm = lmm
        self.seed = seed
        self.longest = lmm.token_limit(longest)
        self._seen = seen
        """Examples that were looked at before, with what was seen."""
        self.images_embedded, self.feature_seconds = 0, 0.0
        """Examples that the tower was shown here, and how long that took."""
        self._splits: dict[tuple[str, str], Rows] = {}
        self._encoded: OrderedDict[tuple[str, str, int], tuple[Encoded, int]] = OrderedDict()
        self._bytes = 0
        self._live = lmm.tower is None

    @property
    def pace(self) -> float:
        """Seconds that the tower takes for an example; 0 where none was looked at."""
        if self.images_embedded:
            return self.feature_seconds / self.images_embedded
        return self._seen.pace if self._seen else 0.0

    def examples(self, task: str, split: str) -> Rows:
        """One split of a task, read lazily."""
        if (task, split) not in self._splits:
            self._splits[task, split] = self.benchmark.tasks[task].examples(split)
        return self._splits[task, split]

    def sizes(self, tasks: Sequence[str]) -> dict[str, int]:
        """Training examples of each task."""
        return {task: len(self.examples(task, "train")) for task in tasks}

    def encoded(self, task: str, split: str, row: int) -> Encoded:
        """One example as model input, with what the frozen vision tower sees in its image."""
        self._forget()
        key = (task, split, row)
        known = self._encoded.get(key, (None,))[0]
        if known is not None and not self.lmm.lacks_queries(known):
            self._encoded.move_to_end(key)
            return known
        found = self._kept(task, split, row)
        if found is not None and not self.lmm.lacks_queries(found):
            self._keep(key, found)
            return found
        # With its neighbours, always the same ones: what is seen then depends on nothing else.
        examples = self.examples(task, split)
        first = row - row % IMAGES_PER_CALL
        rows = range(first, min(first + IMAGES_PER_CALL, len(examples)))
        block = [one for row in rows if (one := self._kept(task, split, row))]
        if len(block) == len(rows):
            # All are read together, or none.
            block = [encoded.without(QUERIES) for encoded in block]
        else:
            shown = [encode(self.lmm.processor, examples[row], self.longest) for row in rows]
            begun = time.perf_counter()
            block = self.lmm.with_features(shown)
            self.feature_seconds += time.perf_counter() - begun
            self.images_embedded += len(rows)
        block = self.lmm.with_queries(block)
        for place, encoded in zip(rows, block, strict=True):
            self._keep((task, split, place), encoded)
        return block[row - first]

    def _kept(self, task: str, split: str, row: int) -> Encoded | None:
        """An example whose images a frozen tower has seen, here or before the search; else None."""
        if self._live:
            return None
        known = self._encoded.get((task, split, row), (None,))[0]
        if known is not None:
            return known
        return self._seen(task, split, row, self.longest) if self._seen else None

    def _forget(self) -> None:
        """What a frozen tower saw is of no use to one that is trained, nor pixels the other way round."""
        if self._live != (self.lmm.tower is None):
            self._encoded.clear()
            self._bytes, self._live = 0, self.lmm.tower is None

    def _keep(self, key: tuple[str, str, int], encoded: Encoded) -> None:
        _, replaced = self._encoded.pop(key, (None, 0))
        self._encoded[key] = encoded, encoded.bytes
        self._bytes += encoded.bytes - replaced
        while self._bytes > CACHE_BYTES and len(self._encoded) > 1:
            self._bytes -= self._encoded.popitem(last=False)[1][1]

    def training(self, picks: Sequence[ExampleId]) -> list[Encoded]:
        """Training examples as model input."""
        return [self.encoded(task, "train", row) for task, row in picks]

    def memory_size(self, picks: Iterable[ExampleId]) -> dict[str, int]:
        """How many training examples these are, and the bytes of their images and texts."""
        count = size = 0
        for task, row in picks:  # one at a time: all of them may be much
            example = self.examples(task, "train")[row]
            turns = (text for turn in example.history for text in turn)
            texts = (example.prompt, example.answer, *turns)
            size += sum(len(text.encode()) for text in texts) + sum(map(len, example.images))
            count += 1
        return {"examples": count, "bytes": size}

    def answer_length(self, pick: ExampleId) -> int:
        """Tokens of a training example's answer and its end, without a look at its images."""
        answer = self.examples(pick[0], "train")[pick[1]].answer
        return len(self.lmm.processor.tokenizer(answer, add_special_tokens=False)["input_ids"]) + 1

    def lengths(self, picks: Sequence[ExampleId]) -> Lengths:
        """Characters of every training prompt of the tasks picked from."""
        tasks = dict.fromkeys(task for task, _ in picks)
        return {task: self.examples(task, "train").lengths() for task in tasks}

    def shuffled(self, task: str) -> list[int]:
        """A permutation of a task's training rows that depends on the plan's seed and the task alone."""
        return permutation(len(self.examples(task, "train")), digest(self.seed, "memory", task))


def permutation(size: int, key: str) -> list[int]:
    """The permutation of range(size) that `key`, a hexadecimal digest, names."""
    generator = torch.Generator().manual_seed(int(key[:12], 16))
    return torch.randperm(size, generator=generator).tolist()


def batches(
    picks: Sequence[ExampleId], training: Training, seed: int, lengths: Lengths | None = None
) -> list[list[ExampleId]]:
    """The batches of a stage: its examples shuffled anew each epoch, one after the other, cut evenly.

    The rest that fills no batch is left out; fewer examples than one batch are repeated to fill it.
    With `lengths` the prompts of a batch are of about one length: within an epoch, each run of `SORTED_BATCHES`
    batches is sorted by it, and the batches come in a random order. Not by the answers' lengths: where
    answers are classes, each batch would hold but one or two of them, and nothing would be learnt.
    """
    size = training.batch_size
    stream: list[ExampleId] = []
    for epoch in range(training.epochs):
        seen = [picks[i] for i in permutation(len(picks), digest(seed, "epoch", epoch))]
        stream += _near(seen, size, lengths, digest(seed, "grouped", epoch)) if lengths else seen
    while len(stream) < size:
        stream += stream
    return _cut(stream[: len(stream) // size * size], size)


def _near(picks: list[ExampleId], size: int, lengths: Lengths, key: str) -> list[ExampleId]:
    """One epoch's examples, those of about one length together; what fills no batch comes last."""
    found: list[list[ExampleId]] = []
    whole = len(picks) // size * size
    for run in _cut(picks[:whole], size * SORTED_BATCHES):
        found += _cut(sorted(run, key=lambda pick: lengths[pick[0]][pick[1]]), size)
    mixed = [found[i] for i in permutation(len(found), key)]
    return [pick for batch in mixed for pick in batch] + picks[whole:]


def _cut(stream: Sequence[ExampleId], size: int) -> list[list[ExampleId]]:
    return [list(stream[i : i + size]) for i in range(0, len(stream), size)]


def micro_batches(
    batch: Sequence[ExampleId], micro: int, rank: int, workers: int
) -> list[list[ExampleId]]:
    """What one rank sees of a batch: every `workers`-th slice of `micro` examples."""
    slices = [list(batch[i : i + micro]) for i in range(0, len(batch), micro)]
    return slices[rank::workers]
