"""Rows that the model's processor is tried on: the longest ones, and one of each kind.

All rows are looked at, by lengths in Arrow and headers of images. So the choice takes seconds for 100,000.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from PIL import Image

from tasks import SPLITS, Task
from tasks.data.pictures import DECODED_FORMATS
from tasks.data.row_shapes import RowShapes

PROBED = 16
"""Rows of each task and split with the longest texts, and as many with the most text and images."""
MOST_KINDS = 64
"""Kinds of pictures of a task that are tried."""
MOST_ROLES = 32
"""Sequences of roles of a task and split that are tried, beside one with and without each part."""
CHARACTERS_PER_TOKEN, PIXELS_PER_TOKEN = 4, 28 * 28
"""Rough sizes of a token, to compare rows: a word's part, and the image patch of Qwen-VL."""
THIN = 4
"""Sides up to so many pixels are kinds of their own: some processors take them for colour channels."""


class Picture(NamedTuple):
    """Header of an image."""

    mode: str
    width: int
    height: int

    @property
    def kind(self) -> tuple[object, ...]:
        """Pictures of one kind are brought to model input alike: sizes within a factor, the same mode."""
        thin = tuple(side if side <= THIN else 0 for side in (self.width, self.height))
        sizes = tuple(round(2 * math.log2(max(1, side))) for side in (self.width, self.height))
        return (self.mode, *thin, *sizes)


def probed_rows(task: Task) -> Iterator[tuple[str, int]]:
    """Yield split and row of each example of a task that the processor is tried on, each once."""
    kinds = _Kinds()
    chosen: list[tuple[str, int]] = []
    for split in SPLITS:
        shapes = task.examples(split).shapes()
        pixels = kinds.add(task, split, shapes)
        weights = shapes.characters / CHARACTERS_PER_TOKEN + pixels / PIXELS_PER_TOKEN
        for sizes in (shapes.characters, weights, shapes.answer_characters):
            chosen += [(split, row) for row in _largest(sizes, PROBED)]
        chosen += [(split, row) for row in _roles(shapes)]
    yield from dict.fromkeys([*chosen, *kinds.rows()])


def _largest(sizes: np.ndarray, count: int) -> list[int]:
    return np.argsort(-sizes, kind="stable")[:count].tolist()


def _roles(shapes: RowShapes) -> list[int]:
    """Return a row of each sequence of roles: system text, turns, images and their marks.

    Those that a template can tell apart by whether they have a part come first, then rare ones.
    """
    parts = (shapes.system, shapes.turns, shapes.images, shapes.marks, shapes.earlier_marks)
    columns = np.stack(parts, axis=1)
    _, coarse = np.unique(columns > 0, axis=0, return_index=True)
    _, fine, counts = np.unique(columns, axis=0, return_index=True, return_counts=True)
    rare = fine[np.argsort(counts, kind="stable")][:MOST_ROLES]
    return sorted({*coarse.tolist(), *rare.tolist()})


def _pictures(task: Task, split: str) -> Iterator[tuple[int, Picture]]:
    """Yield row and header of each picture; a conversion has described those of its shards."""
    rows = task.examples(split)
    described = rows.image_columns(*Picture._fields)
    if described is not None:
        pictures = list(map(Picture, *described))
        for row, numbers in enumerate(rows.image_numbers()):
            for number in numbers or ():
                yield row, pictures[number]
        return
    known: dict[int, Picture | None] = {}
    for row, number, image in rows.image_buffers():
        picture = known.get(number) if number in known else read_header(image)
        if number is not None:
            known[number] = picture
        if picture is not None:
            yield row, picture


class _Kinds:
    """The first row with each kind of picture, and those with the most extreme ones."""

    def __init__(self) -> None:
        self._first: dict[Picture, tuple[str, int]] = {}
        self._counts: Counter[Picture] = Counter()

    def add(self, task: Task, split: str, shapes: RowShapes) -> np.ndarray:
        """Look at a split's pictures; return the number of pixels of each row."""
        pixels = np.zeros(len(shapes.characters))
        for row, picture in _pictures(task, split):
            pixels[row] += picture.width * picture.height
            self._first.setdefault(picture, (split, row))
            self._counts[picture] += 1
        return pixels

    def rows(self) -> list[tuple[str, int]]:
        """Return the rows to try: the extremes, then the kinds, rare ones first if there are many."""
        extremes = [max(self._first, key=size) for size in _SIZES] if self._first else []
        counts: Counter[tuple[object, ...]] = Counter()
        first: dict[tuple[object, ...], Picture] = {}
        for picture, count in self._counts.items():
            counts[picture.kind] += count
            first.setdefault(picture.kind, picture)
        rare = sorted(first, key=lambda kind: counts[kind])[:MOST_KINDS]
        return [self._first[p] for p in (*extremes, *(first[kind] for kind in rare))]


_SIZES: tuple[Callable[[Picture], float], ...] = (
    lambda picture: picture.width / max(1, picture.height),
    lambda picture: picture.height / max(1, picture.width),
    lambda picture: picture.width * picture.height,
    lambda picture: -picture.width * picture.height,
    lambda picture: -min(picture.width, picture.height),
)
"""Sizes whose largest values are the extreme pictures: wide, high, large, small and thin."""


def read_header(image: Any) -> Picture | None:
    """Return an encoded image's mode and size without decoding it; None if it is no image."""
    try:
        with Image.open(pa.BufferReader(image), formats=DECODED_FORMATS) as picture:
            return Picture(picture.mode, picture.width, picture.height)
    except Exception:  # broken images are reported by `check_rows`
        return None
