"""What a reader makes of one row of a user's file: examples, or the reason why there are none."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass
from typing import Any

Reference = str | bytes
"""Where an image is: a path or `data:` URI as the user wrote it, or the encoded image itself."""


@dataclass(frozen=True, slots=True)
class Record:
    """One example as its file has it: images are not looked at yet."""

    id: str
    images: tuple[Reference, ...]
    prompt: str
    answer: str
    answers: tuple[str, ...]
    history: tuple[tuple[str, str], ...] = ()
    system: str = ""


@dataclass(frozen=True, slots=True)
class Accepted:
    """Rows that could be read and the examples they make: these are used together or not at all.

    Of a conversation of one row there is an example for every turn of the assistant; of the several
    captions (rows) of one image there is one example.
    """

    rows: tuple[int, ...]
    """Counted from 0 in the file."""
    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that cannot be used. Rows of equal `reason` are counted together; `detail` is its own."""

    row: int
    id: str
    reason: str
    detail: str = ""

    def __str__(self) -> str:
        name = f"row {self.row}" + (f" (id {self.id})" if self.id else "")
        return f"{name}: {self.reason}" + (f" ({self.detail})" if self.detail else "")


Item = Accepted | Rejected


class Refused(Exception):
    """Raised where a row is read: it cannot be used, for this reason. It never leaves the readers."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail


_short = reprlib.Repr()
_short.maxstring = _short.maxother = 60


def shown(value: Any) -> str:
    """A value of whatever kind, in some 60 printable characters, for a `detail`."""
    return printable(_short.repr(value))[:200]


def printable(text: str) -> str:
    """The text with what no UTF-8 file can hold (halves of surrogate pairs) replaced."""
    return text.encode("utf-8", "replace").decode("utf-8")
