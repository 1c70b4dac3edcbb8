"""Batches of tensors from texts and images, and the learning-rate schedule."""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedTokenizerFast

from models.mini.tokenizer import ANSWER, EOS, IMAGE, IMAGE_SIZE, PAD

LONGEST = 48
IGNORED = -100


@dataclass(frozen=True)
class Batch:
    """Token ids padded on the right, labels of the tokens in the loss, and texts shown as images."""

    ids: Tensor
    mask: Tensor
    labels: Tensor
    shown: list[list[int]]


class Encoder:
    """Encoder of texts as batches, with a cache of each text's tokens."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, visual_tokens: int):
        self.tokenizer = tokenizer
        self.image = [tokenizer.get_vocab()[IMAGE]] * visual_tokens
        vocabulary = tokenizer.get_vocab()
        self.answer, self.end, self.pad = (vocabulary[token] for token in (ANSWER, EOS, PAD))
        self._cache: dict[str, list[int]] = {}

    def tokens(self, text: str) -> list[int]:
        if text not in self._cache:
            self._cache[text] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return self._cache[text]

    def sentences(self, texts: Sequence[str]) -> Batch:
        """Return plain texts, every token of which is in the loss."""
        rows = [[*self.tokens(text)[:LONGEST], self.end] for text in texts]
        return self._padded(rows, [0] * len(rows), [[] for _ in rows])

    def questions(self, rows: Sequence[tuple[str, str, str]]) -> Batch:
        """Return rows of (text shown as the image, question, answer), with the answers in the loss."""
        prompts = [[*self.image, *self.tokens(question), self.answer] for _, question, _ in rows]
        answers = [[*self.tokens(answer)[:LONGEST], self.end] for *_, answer in rows]
        shown = [self.tokens(text)[: len(self.image)] for text, *_ in rows]
        joined = [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)]
        return self._padded(joined, [len(prompt) for prompt in prompts], shown)

    def instructions(self, texts: Sequence[str]) -> Batch:
        """Return the questions alone, as a Q-Former reads them."""
        rows = [self.tokens(text) for text in texts]
        return self._padded(rows, [0] * len(rows), [[] for _ in rows])

    def _padded(self, rows: list[list[int]], starts: list[int], shown: list[list[int]]) -> Batch:
        length = max(map(len, rows))
        ids = torch.full((len(rows), length), self.pad)
        labels = torch.full_like(ids, IGNORED)
        mask = torch.zeros_like(ids)
        for place, (row, start) in enumerate(zip(rows, starts, strict=True)):
            ids[place, : len(row)] = torch.tensor(row)
            labels[place, start : len(row)] = ids[place, start : len(row)]
            mask[place, : len(row)] = 1
        return Batch(ids, mask, labels, shown)


def overwrite(visual: Tensor, batch: Batch, embed: nn.Module, chance: random.Random) -> Tensor:
    """Put each shown text's embeddings at a random place among the visual tokens."""
    visual = visual.clone()
    for place, tokens in enumerate(batch.shown):
        start = chance.randint(0, visual.shape[1] - len(tokens))
        visual[place, start : start + len(tokens)] = embed(torch.tensor(tokens))
    return visual


def augment(pixels: Tensor, generator: torch.Generator, strength: float = 1.0) -> Tensor:
    """Return random small affine views at the model's size, with other light and colour, in [-1, 1]."""

    def uniform(*shape: int) -> Tensor:
        return (torch.rand(shape, generator=generator) * 2 - 1) * strength

    count = len(pixels)
    angle, zoom = uniform(count) * 0.12, 1 + uniform(count) * 0.12
    sine, cosine = angle.sin() * zoom, angle.cos() * zoom
    rotation = torch.stack([cosine, -sine, sine, cosine], 1).view(count, 2, 2)
    affine = torch.cat([rotation, uniform(count, 2, 1) * 0.1], 2)
    grid = functional.affine_grid(affine, [count, 3, IMAGE_SIZE, IMAGE_SIZE], align_corners=False)
    images = functional.grid_sample(
        pixels.float() / 127.5 - 1, grid, padding_mode="border", align_corners=False
    )
    gain = 1 + uniform(count, 1, 1, 1) * 0.15 + uniform(count, 3, 1, 1) * 0.05
    return (images * gain + uniform(count, 1, 1, 1) * 0.1).clamp(-1, 1)


def cosine_schedule(step: int, steps: int, warmup: int = 50) -> float:
    """Return the share of the peak learning rate at a step."""
    return min(1.0, (step + 1) / warmup) * 0.5 * (1 + math.cos(math.pi * step / steps))


def shuffled(count: int, size: int, chance: random.Random) -> Iterator[list[int]]:
    """Yield batches of indices, epoch after epoch, without an end."""
    while True:
        order = chance.sample(range(count), count)
        for start in range(0, count - size + 1, size):
            yield order[start : start + size]
