"""The examples of a benchmark as one rank reads them: encoded once, with cached vision features."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from models.batching import QUERIES, Encoded, encode
from models.lmm import LMM
from models.loading import IMAGES_PER_CALL
from strategies import ExampleId
from tasks import Benchmark
from tasks.data.rows import Rows
from trainables.rank.batching import Lengths, permutation
from trainables.rank.features import FeatureReader
from trainables.store.digest import digest

CACHE_BYTES = 1 << 30
"""Bytes of encoded examples that a rank keeps in memory."""


class Data:
    """Encoded examples by (task, split, row); the most recently used are cached up to `CACHE_BYTES`."""

    def __init__(
        self,
        benchmark: Benchmark,
        lmm: LMM,
        seed: int,
        longest: int = 0,
        precomputed: FeatureReader | None = None,
    ) -> None:
        self.benchmark = benchmark
        self.lmm = lmm
        self.seed = seed
        self.longest = lmm.token_limit(longest)
        self._precomputed = precomputed
        self.images_embedded, self.feature_seconds = 0, 0.0
        """Examples that the vision tower embedded in this process, and the seconds of it."""
        self._splits: dict[tuple[str, str], Rows] = {}
        self._encoded: OrderedDict[tuple[str, str, int], tuple[Encoded, int]] = OrderedDict()
        self._bytes = 0
        self._trains_tower = lmm.tower is None

    @property
    def seconds_per_example(self) -> float:
        """Mean seconds of the vision tower for an example; 0 if it has embedded none."""
        if self.images_embedded:
            return self.feature_seconds / self.images_embedded
        return self._precomputed.seconds_per_example if self._precomputed else 0.0

    def examples(self, task: str, split: str) -> Rows:
        """Open one split of a task; its rows are read lazily."""
        if (task, split) not in self._splits:
            self._splits[task, split] = self.benchmark.tasks[task].examples(split)
        return self._splits[task, split]

    def sizes(self, tasks: Sequence[str]) -> dict[str, int]:
        """Count the training examples of each task."""
        return {task: len(self.examples(task, "train")) for task in tasks}

    def encoded(self, task: str, split: str, row: int) -> Encoded:
        """Return one example as model input, with the features of a frozen vision tower."""
        self._drop_stale()
        key = (task, split, row)
        cached = self._encoded.get(key, (None,))[0]
        if cached is not None and not self.lmm.lacks_queries(cached):
            self._encoded.move_to_end(key)
            return cached
        found = self._with_features(task, split, row)
        if found is not None and not self.lmm.lacks_queries(found):
            self._cache(key, found)
            return found
        block = self._encode_block(task, split, row)
        first = row - row % IMAGES_PER_CALL
        for number, encoded in enumerate(block, start=first):
            self._cache((task, split, number), encoded)
        return block[row - first]

    def _encode_block(self, task: str, split: str, row: int) -> list[Encoded]:
        """Encode a row with its block of `IMAGES_PER_CALL` neighbours.

        The last bits of features depend on the rows that are embedded together. Blocks are fixed, so that
        they do not depend on the order of reading.
        """
        examples = self.examples(task, split)
        first = row - row % IMAGES_PER_CALL
        rows = range(first, min(first + IMAGES_PER_CALL, len(examples)))
        block = [one for row in rows if (one := self._with_features(task, split, row))]
        if len(block) == len(rows):
            # The Q-Former reads all of a block together, or none.
            block = [encoded.without(QUERIES) for encoded in block]
        else:
            pixels = [encode(self.lmm.processor, examples[row], self.longest) for row in rows]
            begun = time.perf_counter()
            block = self.lmm.with_features(pixels)
            self.feature_seconds += time.perf_counter() - begun
            self.images_embedded += len(rows)
        return self.lmm.with_queries(block)

    def _with_features(self, task: str, split: str, row: int) -> Encoded | None:
        """Return an example whose features are in memory or on disk; None if it must be encoded."""
        if self._trains_tower:
            return None
        cached = self._encoded.get((task, split, row), (None,))[0]
        if cached is not None:
            return cached
        return self._precomputed(task, split, row, self.longest) if self._precomputed else None

    def _drop_stale(self) -> None:
        """Empty the cache when the vision tower begins to be trained, or is frozen again."""
        if self._trains_tower != (self.lmm.tower is None):
            self._encoded.clear()
            self._bytes, self._trains_tower = 0, self.lmm.tower is None

    def _cache(self, key: tuple[str, str, int], encoded: Encoded) -> None:
        _, replaced = self._encoded.pop(key, (None, 0))
        self._encoded[key] = encoded, encoded.bytes
        self._bytes += encoded.bytes - replaced
        while self._bytes > CACHE_BYTES and len(self._encoded) > 1:
            self._bytes -= self._encoded.popitem(last=False)[1][1]

    def training(self, picks: Sequence[ExampleId]) -> list[Encoded]:
        """Return training examples as model input."""
        return [self.encoded(task, "train", row) for task, row in picks]

    def memory_size(self, picks: Iterable[ExampleId]) -> dict[str, int]:
        """Count training examples, and the bytes of their images and texts."""
        count = size = 0
        for task, row in picks:  # one at a time: all of them may be much
            example = self.examples(task, "train")[row]
            turns = (text for turn in example.history for text in turn)
            texts = (example.prompt, example.answer, *turns)
            size += sum(len(text.encode()) for text in texts) + sum(map(len, example.images))
            count += 1
        return {"examples": count, "bytes": size}

    def answer_length(self, pick: ExampleId, split: str = "train") -> int:
        """Count the tokens of an example's answer and its end, without reading its images."""
        answer = self.examples(pick[0], split)[pick[1]].answer
        return len(self.lmm.processor.tokenizer(answer, add_special_tokens=False)["input_ids"]) + 1

    def lengths(self, picks: Sequence[ExampleId]) -> Lengths:
        """Return the characters of every training prompt of the tasks picked from."""
        tasks = dict.fromkeys(task for task, _ in picks)
        return {task: self.examples(task, "train").lengths() for task in tasks}

    def shuffled(self, task: str) -> list[int]:
        """Return a permutation of a task's training rows; only the plan's seed and the task decide it."""
        return permutation(len(self.examples(task, "train")), digest(self.seed, "memory", task))
