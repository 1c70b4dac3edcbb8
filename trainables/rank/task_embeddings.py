"""Embeddings by frozen encoders: of examples, to retrieve experts, and of tasks, to compare them."""

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

EMBEDDED_EXAMPLES = 1000
"""Largest number of examples that a task embedding is averaged over."""


class TaskEmbedder:
    """Embedder of examples and tasks: the frozen vision tower and a frozen text encoder.

    Ranks share the work.
    """

    def __init__(self, data: Data, text_encoder: str) -> None:
        self.data = data
        self._folder = text_encoder
        self._encoder: TextEncoder | None = None
        self._queries: dict[tuple[str, str], Queries] = {}

    @property
    def encoder(self) -> TextEncoder:
        """The text encoder, loaded at its first use."""
        if self._encoder is None:
            lmm = self.data.lmm
            token_mean = TokenMean(lmm.processor.tokenizer, lmm.token_embeddings)
            self._encoder = SentenceEncoder(Path(self._folder)) if self._folder else token_mean
        return self._encoder

    def embed_task(self, task: str) -> TaskEmbedding:
        """Return the normalised mean vectors of at most `EMBEDDED_EXAMPLES` training examples."""
        examples = self.data.examples(task, "train")
        rows = spread(len(examples), EMBEDDED_EXAMPLES)
        image, instruction = self._vectors(task, "train", rows)
        answer = self.encoder.encode([examples[row].answer for row in rows])
        means = {"image": image, "instruction": instruction, "answer": answer}
        return {n: torch.nn.functional.normalize(v.mean(0), dim=0) for n, v in means.items()}

    def queries(self, task: str, split: str, most: int = 0) -> Queries:
        """Embed the examples of a split, or at most `most` of them, evenly spread; 0 = all."""
        size = len(self.data.examples(task, split))
        if most:
            return Queries(*self._vectors(task, split, spread(size, most)))
        if (task, split) not in self._queries:
            self._queries[task, split] = Queries(*self._vectors(task, split, range(size)))
        return self._queries[task, split]

    def _vectors(
        self, task: str, split: str, rows: Iterable[int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return image and instruction vectors of some rows, in their order, equal on every rank."""
        examples, rows = self.data.examples(task, split), list(rows)
        rank, workers = dist.get_rank(), dist.get_world_size()
        size = -(-len(rows) // workers)
        share = rows[rank * size : (rank + 1) * size]
        images = [self.data.lmm.image_vector(self.data.encoded(task, split, row)) for row in share]
        texts = self.encoder.encode([instruction(examples[r]) for r in share]) if share else ()
        vectors = list(zip(images, texts, strict=True))
        shares = [vectors]
        if workers > 1:
            shares = [[] for _ in range(workers)]
            dist.all_gather_object(shares, vectors)
        images = [image for share in shares for image, _ in share]
        known = next((vector for vector in images if vector is not None), torch.zeros(1))
        image = torch.stack([torch.zeros_like(known) if v is None else v for v in images])
        text = torch.stack([text for share in shares for _, text in share])
        return torch.nn.functional.normalize(image, dim=-1), text


def spread(size: int, most: int) -> list[int]:
    """Choose at most `most` of `size` rows, evenly spread, in the blocks that are embedded together."""
    blocks = range(0, size, IMAGES_PER_CALL)
    stride = max(1, -(-len(blocks) * IMAGES_PER_CALL // most))
    return [r for b in blocks[::stride] for r in range(b, min(b + IMAGES_PER_CALL, size))]


def instruction(example: Example) -> str:
    """Return an example's prompt without its image tokens."""
    return example.prompt.replace(IMAGE, " ").strip()
