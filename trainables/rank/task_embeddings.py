"""Frozen vectors of examples, by which they are looked up, and of tasks, whose similarity they tell."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
import torch.distributed as dist

from models.loading import IMAGES_PER_CALL
from models.text_encoder import SentenceEncoder, TextEncoder, TokenMean
from strategies import Queries
from strategies.similarity import TaskEmbedding
from tasks.data.rows import IMAGE, Example
from trainables.rank.data import Data

EMBEDDING_EXAMPLES = 1000
"""Examples of a task that its signature is the mean of, at most."""


class TaskEmbedder:
    """Looks at examples with the frozen vision tower and a frozen text encoder; ranks share the work."""

    def __init__(self, data: Data, text_encoder: str) -> None:
        self.data = data
        self._folder = text_encoder
        self._encoder: TextEncoder | None = None
        self._queries: dict[tuple[str, str], Queries] = {}

    @property
    def encoder(self) -> TextEncoder:
        """Loaded when it is first asked for."""
        if self._encoder is None:
            lmm = self.data.lmm
            own = TokenMean(lmm.processor.tokenizer, lmm.token_embeddings)
            self._encoder = SentenceEncoder(Path(self._folder)) if self._folder else own
        return self._encoder

    def signature(self, task: str) -> TaskEmbedding:
        """The task's mean vectors over at most `EMBEDDING_EXAMPLES` training examples, spread over all of them."""
        rows = spread(len(self.data.examples(task, "train")), EMBEDDING_EXAMPLES)
        image, instruction = self._vectors(task, "train", rows)
        examples = self.data.examples(task, "train")
        answer = self.encoder.encode([examples[row].answer for row in rows])
        means = {"image": image, "instruction": instruction, "answer": answer}
        return {n: torch.nn.functional.normalize(v.mean(0), dim=0) for n, v in means.items()}

    def queries(self, task: str, split: str, most: int = 0) -> Queries:
        """What each example of a split is looked up by; with `most`, of so many spread over it."""
        size = len(self.data.examples(task, split))
        if most:
            return Queries(*self._vectors(task, split, spread(size, most)))
        if (task, split) not in self._queries:
            self._queries[task, split] = Queries(*self._vectors(task, split, range(size)))
        return self._queries[task, split]

    def _vectors(
        self, task: str, split: str, rows: Iterable[int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Image and instruction vectors of some rows, in their order, the same on every rank."""
        examples, rows = self.data.examples(task, split), list(rows)
        rank, workers = dist.get_rank(), dist.get_world_size()
        share = -(-len(rows) // workers)
        own = rows[rank * share : (rank + 1) * share]
        images = [self.data.lmm.image_vector(self.data.encoded(task, split, row)) for row in own]
        texts = self.encoder.encode([instruction(examples[row]) for row in own]) if own else ()
        mine = list(zip(images, texts, strict=True))
        parts = [mine]
        if workers > 1:
            parts = [[] for _ in range(workers)]
            dist.all_gather_object(parts, mine)
        found = [image for part in parts for image, _ in part]
        known = next((vector for vector in found if vector is not None), torch.zeros(1))
        image = torch.stack([torch.zeros_like(known) if v is None else v for v in found])
        asked = torch.stack([text for part in parts for _, text in part])
        return torch.nn.functional.normalize(image, dim=-1), asked


def spread(size: int, most: int) -> list[int]:
    """At most `most` of `size` rows, spread over them in whole blocks: the tower looks at no less."""
    blocks = range(0, size, IMAGES_PER_CALL)
    stride = max(1, -(-len(blocks) * IMAGES_PER_CALL // most))
    return [r for b in blocks[::stride] for r in range(b, min(b + IMAGES_PER_CALL, size))]


def instruction(example: Example) -> str:
    """What an example asks, without the signs for its images."""
    return example.prompt.replace(IMAGE, " ").strip()
