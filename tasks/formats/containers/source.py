"""A file and its container: JSON lists, JSON Lines, JSON objects, values in a row, Parquet, Arrow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from spaces.errors import first_line
from tasks.formats.containers.json_text import (
    LONGEST,
    NOTHING,
    JsonText,
    Unreadable,
    parsed_line,
)
from tasks.formats.containers.near_json import JsonFault
from tasks.formats.containers.tables import TABLE_FAULTS, table_batches

WRAPPED = "data"
"""Key of an object whose list of rows is read like a list alone."""
CAPTIONS = frozenset({"images", "annotations"})
"""Keys of the lists in COCO's objects."""


ReportShare = Callable[[float], None]
"""Function that is called with the share of the file that has been read."""


def no_report(share: float) -> None:
    """Ignore the share."""


@dataclass(frozen=True)
class Source:
    """A file and its container."""

    path: Path
    kind: str
    """`list`, `lines`, `stream`, `object`, `by_id`, `by_split` (of JSON), `parquet` or `arrow`."""
    keys: tuple[str, ...] = ()
    """Keys of an `object` that hold lists; those of the splits, of `by_split`."""
    part: str | None = None
    """Key of the rows that are read, of `by_split`."""

    @property
    def title(self) -> str:
        return TITLES[self.kind]

    @property
    def is_table(self) -> bool:
        return self.kind in ("parquet", "arrow")

    def rows(self, report: ReportShare = no_report) -> Iterator[Any]:
        """Yield every row, `Unreadable` for a broken one; a file that breaks off ends with one."""
        if self.kind == "lines":
            return self._lines(report)
        if self.is_table:
            return self._table(report)
        if self.kind in ("by_id", "stream"):
            return self._read(_by_id if self.kind == "by_id" else JsonText.values, report)
        return self.listed(WRAPPED if self.kind == "object" else self.part, report)

    def listed(self, key: str | None, report: ReportShare = no_report) -> Iterator[Any]:
        """Yield the elements of the JSON list under `key` of the object; None: of the file."""
        return self._read(lambda text: chain.from_iterable(_lists(text, key)), report)

    def _read(
        self, rows: Callable[[JsonText], Iterator[Any]], report: ReportShare
    ) -> Iterator[Any]:
        size = max(1, self.path.stat().st_size)
        with closing(JsonText(self.path)) as text:
            try:
                for row in rows(text):
                    yield row
                    report(text.bytes_read / size)
                text.end()
            except JsonFault as fault:
                yield Unreadable("the file is no JSON from here on", str(fault))

    def _lines(self, report: ReportShare) -> Iterator[Any]:
        size, number = max(1, self.path.stat().st_size), 0
        with self.path.open("rb") as file:
            while line := file.readline(LONGEST):
                number += 1
                whole = line.endswith(b"\n") or len(line) < LONGEST
                if whole and not line.strip():
                    continue
                if whole:
                    row = _row_of(line, number)
                    if row is not NOTHING:
                        yield row
                else:
                    _skip_line(file)
                    yield Unreadable(
                        "line too long", f"line {number} has more than {LONGEST} bytes"
                    )
                report(file.tell() / size)

    def _table(self, report: ReportShare) -> Iterator[Any]:
        try:
            for done, batch in table_batches(self.path, self.kind):
                yield from batch
                report(done)
        except TABLE_FAULTS as error:
            yield Unreadable("the file cannot be read from here on", first_line(error))


TITLES = {
    "list": "a JSON list",
    "lines": "JSON Lines",
    "stream": "JSON values one after the other",
    "object": "a JSON object",
    "by_id": "a JSON object of rows by their id",
    "by_split": "a JSON object of splits",
    "parquet": "Parquet",
    "arrow": "Arrow",
}
"""Names of the containers, for messages."""


def _lists(text: JsonText, key: str | None) -> Iterator[Iterator[Any]]:
    """Yield the elements of the list under `key` as one iterator; skip all else in the object."""
    if key is None:
        yield text.elements()
        return
    for name in text.members():
        if name == key and text.peek() == "[":
            yield text.elements()
        elif name == key and text.peek() == "{":
            yield _by_id(text)
        elif text.peek() == "[":
            for _ in text.elements():
                pass
        else:
            text.value()


def _by_id(text: JsonText) -> Iterator[Any]:
    """Yield the values of an object of rows; each gets its key as id, unless it has one."""
    for key in text.members():
        row = text.value()
        yield {"id": key, **row} if isinstance(row, dict) else row


def _row_of(line: bytes, number: int) -> Any:
    try:
        row = parsed_line(line)
    except JsonFault as fault:
        return Unreadable("the line is no JSON", f"line {number}, {fault}")
    return (
        Unreadable(row.reason, f"line {number}: {row.detail}")
        if isinstance(row, Unreadable)
        else row
    )


def _skip_line(file: Any) -> None:
    while (part := file.readline(LONGEST)) and not part.endswith(b"\n"):
        pass
