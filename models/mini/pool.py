"""Pretraining pool of the training scripts, with further images of words."""

import io
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet
import torch
from PIL import Image
from torch import Tensor

from models.mini.network import TOWER_WIDTH
from models.mini.teacher import features, load_teacher, resized, targets
from models.mini.tokenizer import POOL_SIZE
from tasks.mini.words import WORDS, glosses, words

SOURCE_WEIGHTS = {"twemoji": 3.0, "noto": 3.0, "fluent-emoji-flat": 3.0, "signs": 2.0} | {
    "words": 2.0,
    "game-icons": 0.2,
    "clip-art": 0.3,
}
GENERIC_WEIGHT, COMMON = 0.1, 60
INVENTED_WORDS = 2500


@dataclass(frozen=True)
class Pool:
    """Images (bytes, channels first), captions, if any, and weights by which images are drawn."""

    pixels: Tensor
    captions: list[str | None]
    weights: Tensor
    targets: Tensor
    """The teacher's features of the first images; the images of words have none."""


def read_pool(cache: Path, teacher: Path) -> Pool:
    """Read the pool's shards and the words; cache the teacher's features, which take minutes."""
    folder = cache / "pool"
    features_file = folder / "teacher.pt"
    shards = sorted(folder.glob("pool-*.parquet"))
    rows = [row for shard in shards for row in pyarrow.parquet.read_table(shard).to_pylist()]
    images: list[Image.Image] = [Image.open(io.BytesIO(row["image"]["bytes"])) for row in rows]
    if not features_file.is_file():
        torch.save(
            targets(features(load_teacher(teacher), images, grid=4), TOWER_WIDTH), features_file
        )
    words_drawn = list(word_images(cache))
    pixels = torch.stack(
        [resized(image, POOL_SIZE) for image in (*images, *(i for i, _ in words_drawn))]
    )
    captions = [row["caption"] for row in rows] + [caption for _, caption in words_drawn]
    sources = [row["source"] for row in rows] + ["words"] * len(words_drawn)
    return Pool(pixels, captions, weights(captions, sources), torch.load(features_file))


def weights(captions: list[str | None], sources: list[str]) -> Tensor:
    """Return the weights by which images are drawn: low if many images share the caption."""
    counts = Counter(captions)
    return torch.tensor(
        [
            GENERIC_WEIGHT if counts[caption] > COMMON else SOURCE_WEIGHTS.get(source, 1.0)
            for caption, source in zip(captions, sources, strict=True)
        ]
    )


def word_images(cache: Path) -> Iterator[tuple[Image.Image, str]]:
    """Yield images of short and of invented words in the training fonts; none of the task's words."""
    chance = random.Random(0)
    known = [word for word in glosses(cache) if len(word) == 3 and word not in WORDS]
    invented = {_invent(chance) for _ in range(INVENTED_WORDS)} - set(WORDS)
    for text in (*known, *sorted(invented)):
        pictures = [p for p in words(cache, [text], 1) if p.split == "train"]
        for picture in pictures if text in known else chance.sample(pictures, 1):
            yield picture.draw(POOL_SIZE), f"the word {text}"


def _invent(chance: random.Random) -> str:
    consonants, vowels = "bcdfghjklmnpqrstvwxyz", "aeiou"
    return "".join(chance.choice(letters) for letters in (consonants, vowels, consonants))


def read_lines(folder: Path) -> list[str]:
    """Return the distinct lines of the pool's text, sorted."""
    return sorted(set((folder / "text.txt").read_text().splitlines()))
