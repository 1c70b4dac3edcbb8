"""What a loop does that keeps nothing of the frozen tower: each example is looked at whenever it is met."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from unittest import mock

from models.batching import Encoded, encode
from trainables.rank.data import Data
from trainables.rank.task_embeddings import TaskEmbedder


class Live(Data):
    """Decodes and prepares every image anew, and leaves the pixels to the model."""

    def encoded(self, task: str, split: str, row: int) -> Encoded:
        return encode(self.lmm.processor, self.examples(task, split)[row], self.longest)


class Pixels(Data):
    """Keeps what the processor made, and leaves the pixels to the model: the tower alone is live."""

    def encoded(self, task: str, split: str, row: int) -> Encoded:
        key = (task, split, row)
        if key not in self._encoded:
            example = self.examples(task, split)[row]
            self._encoded[key] = encode(self.lmm.processor, example, self.longest), 0
        return self._encoded[key][0]


class LiveSigner(TaskEmbedder):
    """Has data of its own: vectors come from what is seen, which `Live` leaves to the model."""

    def __init__(self, data: Data, text_encoder: str) -> None:
        own = Data(data.benchmark, data.lmm, data.seed, data.longest)
        super().__init__(own, text_encoder)


@contextlib.contextmanager
def looking(kind: type[Data]) -> Iterator[None]:
    """Workers that load a model meanwhile meet their examples so."""
    embedder = TaskEmbedder if kind is Data else LiveSigner
    with (
        mock.patch("trainables.rank.worker.Data", kind),
        mock.patch("trainables.rank.worker.TaskEmbedder", embedder),
    ):
        yield
