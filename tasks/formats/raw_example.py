"""Result of reading one row of a user's file: its examples, or the reason why there are none."""

from __future__ import annotations

import dataclasses
import json
import reprlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spaces.secrets import masked

ImageReference = str | bytes
"""A path or `data:` URI as the user wrote it, or the encoded image itself."""


@dataclass(frozen=True, slots=True)
class PixelBox:
    """A box in pixels of an image, written into the texts once the image's size is known."""

    image: int
    """Number of the image among the example's."""
    sides: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class RawExample:
    """One example as its file has it: images are references that have not been read."""

    id: str
    images: tuple[ImageReference, ...]
    prompt: str
    answer: str
    answers: tuple[str, ...]
    history: tuple[tuple[str, str], ...] = ()
    system: str = ""
    boxes: tuple[PixelBox, ...] = ()
    """Boxes for the marks of `formats.values.boxes` in the texts."""

    def texts(self) -> tuple[str, ...]:
        """Return all texts, prompts first."""
        turns = (text for turn in self.history for text in turn)
        return (self.prompt, self.system, self.answer, *self.answers, *turns)


@dataclass(frozen=True, slots=True)
class Accepted:
    """Rows that could be read, and their examples, which are used together or not at all.

    A conversation of one row has an example for every turn of the assistant; the captions of an image,
    several rows, are one example.
    """

    rows: tuple[int, ...]
    """Numbers of the rows in the file, from 0."""
    examples: tuple[RawExample, ...]
    notes: tuple[str, ...] = ()
    """Keys that are not used, and other things that are left out or kept as they are."""

    def rejected(self, error: RowError) -> list[Rejected]:
        """Return all rows as rejected for one fault of the group."""
        name = self.examples[0].id
        return [Rejected(row, name, error.reason, error.detail) for row in self.rows]


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that cannot be used; rows are counted by `reason`, `detail` is the row's own."""

    row: int
    id: str
    reason: str
    detail: str = ""

    def __str__(self) -> str:
        name = f"row {self.row}" + (f" (id {self.id})" if self.id else "")
        return masked(f"{name}: {self.reason}" + (f" ({self.detail})" if self.detail else ""))

    def to_line(self, split: str, file: Path) -> str:
        """Return the row as a line of a file of rejected rows."""
        texts = {"id": masked(self.id), "detail": masked(self.detail)}
        values = {"split": split, "file": str(file)} | dataclasses.asdict(self) | texts
        return json.dumps(values, ensure_ascii=False) + "\n"


Item = Accepted | Rejected


class RowError(Exception):
    """A fault for which a row cannot be used; readers turn it into `Rejected`."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail


class _Short(reprlib.Repr):
    """Short representation of a value, without secrets: a text is masked before it is cut."""

    def repr_str(self, x: str, level: int) -> str:
        return super().repr_str(masked(x), level)


_short = _Short()
_short.maxstring = _short.maxother = 60


def brief(value: Any) -> str:
    """Show any value in some 60 printable characters, for a `detail`."""
    return printable(_short.repr(value))[:200]


def printable(text: str) -> str:
    """Replace what no UTF-8 file can hold: halves of surrogate pairs."""
    return text.encode("utf-8", "replace").decode("utf-8")
