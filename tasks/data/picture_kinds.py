"""Kinds of pictures in a task: one row of each, so that a processor can be tried on all of them."""

from __future__ import annotations

import math

from tasks.data.images import ImageInfo

MOST_KINDS = 40
"""Rows of one task that stand for kinds; the extreme ones always do."""

PictureRow = tuple[str, int]
"""Split and row of an example."""


class PictureKinds:
    """Rows that stand for a task's pictures: each mode, shape and size, and the extremes.

    Shapes and sizes of one kind differ by less than a factor of two.
    """

    def __init__(self) -> None:
        self._first: dict[tuple[str, int, int], PictureRow] = {}
        self._extremes: dict[str, tuple[float, PictureRow]] = {}

    def add(self, info: ImageInfo, split: str, row: int) -> None:
        """Note a picture of a row."""
        width, height = max(1, info.width), max(1, info.height)
        shape = math.log2(width / height)
        kind = (info.mode, round(shape), int(math.log2(width * height)))
        self._first.setdefault(kind, (split, row))
        extremes = {"widest": shape, "tallest": -shape}
        extremes |= {"largest": width * height, "smallest": -min(width, height)}
        for name, value in extremes.items():
            if name not in self._extremes or value > self._extremes[name][0]:
                self._extremes[name] = value, (split, row)

    def rows(self) -> tuple[PictureRow, ...]:
        """Return the rows, the extremes first."""
        extremes = [row for _, row in self._extremes.values()]
        return tuple(dict.fromkeys([*extremes, *self._first.values()]))[:MOST_KINDS]
