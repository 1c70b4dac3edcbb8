"""Training data without cached features, for baselines that embed each image at every use."""

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
    """Keeps the output of the processor and leaves the pixels to the model: the tower alone is live."""

    def encoded(self, task: str, split: str, row: int) -> Encoded:
        key = (task, split, row)
        if key not in self._encoded:
            example = self.examples(task, split)[row]
            self._encoded[key] = encode(self.lmm.processor, example, self.longest), 0
        return self._encoded[key][0]


class LiveEmbedder(TaskEmbedder):
    """Embeds with data of its own: its vectors need features, which `Live` leaves to the model."""

    def __init__(self, data: Data, text_encoder: str) -> None:
        plain = Data(data.benchmark, data.lmm, data.seed, data.longest)
        super().__init__(plain, text_encoder)


@contextlib.contextmanager
def encoding_by(kind: type[Data]) -> Iterator[None]:
    """Let workers that load a model meanwhile read their examples by `kind`."""
    embedder = TaskEmbedder if kind is Data else LiveEmbedder
    with (
        mock.patch("trainables.rank.rank_context.Data", kind),
        mock.patch("trainables.rank.rank_context.TaskEmbedder", embedder),
    ):
        yield
