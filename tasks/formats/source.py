"""Containers of rows: JSON lists, JSON Lines, JSON objects of lists, Parquet, Arrow.

The content decides, not the file's name: users name JSON Lines `.json` and the other way round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from spaces.errors import InputError, first_line
from tasks.data.rows import open_arrow
from tasks.formats.json_text import LONGEST, JsonFault, JsonText, parsed_line
from tasks.formats.raw_example import brief

BATCH = 64
"""Rows of a table that are Python objects at the same time: each may hold an image."""
WRAPPED = "data"
"""Key of an object whose list of rows is read like a list alone."""
CAPTIONS = frozenset({"images", "annotations"})
"""Keys of the lists in COCO's objects."""
_FIRST_LINE = 1 << 20  # bytes; lists of many GB may be one line
_TRIES = 20  # first lines by which JSON Lines are detected


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Placeholder of a row that cannot be parsed."""

    reason: str
    detail: str


ReportShare = Callable[[float], None]
"""Function that is called with the share of the file that has been read."""


def no_report(share: float) -> None:
    """Ignore the share."""


@dataclass(frozen=True)
class Source:
    """A file and its container."""

    path: Path
    kind: str
    """`list`, `lines`, `object` (of JSON), `parquet` or `arrow`."""
    keys: tuple[str, ...] = ()
    """Keys of an `object` that hold lists."""

    @property
    def title(self) -> str:
        return _TITLES[self.kind]

    @property
    def is_table(self) -> bool:
        return self.kind in ("parquet", "arrow")

    def rows(self, report: ReportShare = no_report) -> Iterator[Any]:
        """Yield every row, `Unreadable` for a broken one; a file that breaks off ends with one."""
        if self.kind == "lines":
            return self._lines(report)
        if self.is_table:
            return self._table(report)
        return self.listed(WRAPPED if self.kind == "object" else None, report)

    def listed(self, key: str | None, report: ReportShare = no_report) -> Iterator[Any]:
        """Yield the elements of the JSON list under `key` of the object; None: of the file."""
        size = max(1, self.path.stat().st_size)
        with closing(JsonText(self.path)) as text:
            try:
                for part in _lists(text, key):
                    for element in part:
                        yield element
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
                    yield _row_of(line, number)
                else:
                    _skip_line(file)
                    yield Unreadable(
                        "line too long", f"line {number} has more than {LONGEST} bytes"
                    )
                report(file.tell() / size)

    def _table(self, report: ReportShare) -> Iterator[Any]:
        try:
            for done, batch in _batches(self.path, self.kind):
                yield from batch
                report(done)
        except _TABLE_FAULTS as error:
            yield Unreadable("the file cannot be read from here on", first_line(error))


_TITLES = {
    "list": "a JSON list",
    "lines": "JSON Lines",
    "object": "a JSON object",
    "parquet": "Parquet",
    "arrow": "Arrow",
}
_TABLE_FAULTS = (pa.ArrowException, OSError, UnicodeDecodeError, ValueError, OverflowError)


def open_source(path: Path) -> Source:
    """Detect a file's container from its first bytes; raise `InputError` if none is known."""
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    if start[:4] == b"PAR1":
        return Source(path, "parquet")
    if start[:6] == b"ARROW1" or start[:4] == b"\xff\xff\xff\xff":
        return Source(path, "arrow")
    source = _open_json(path)
    if source is None:
        raise InputError(
            f"{path} must be {', '.join(_TITLES.values())}: it begins with {brief(start)}; "
            "text must be UTF-8, and nothing compressed"
        )
    return source


def _open_json(path: Path) -> Source | None:
    with closing(JsonText(path)) as text:
        first = text.peek()
    if first == "{" and _is_one_value(path):
        keys = _list_keys(path)
        if WRAPPED in keys or set(keys) >= CAPTIONS:
            return Source(path, "object", keys)
    if first == "[" and (_is_one_value(path) or not _has_object_line(path)):
        return Source(path, "list")
    return Source(path, "lines") if _has_object_line(path) else None


def _is_one_value(path: Path) -> bool:
    """Return whether one value continues after the first line, or nothing follows that line."""
    with path.open("rb") as file:
        line = file.readline(_FIRST_LINE)
        return _tried(line) is None or not file.read(4096).strip()


def _has_object_line(path: Path) -> bool:
    """Return whether one of the first lines is an object by itself."""
    with path.open("rb") as file:
        return any(isinstance(_tried(file.readline(LONGEST)), dict) for _ in range(_TRIES))


def _tried(line: bytes) -> Any:
    with suppress(JsonFault):
        return parsed_line(line)
    return None


def _list_keys(path: Path) -> tuple[str, ...]:
    """Return the keys of an object that hold lists; in a broken object, those before the fault."""
    keys = []
    with closing(JsonText(path)) as text, suppress(JsonFault):
        for key in text.members():
            if text.peek() == "[":
                keys.append(key)
                for _ in text.elements():
                    pass
            else:
                text.value()
    return tuple(keys)


def _lists(text: JsonText, key: str | None) -> Iterator[Iterator[Any]]:
    """Yield the elements of the list under `key` as one iterator; skip all else in the object."""
    if key is None:
        yield text.elements()
        return
    for name in text.members():
        if name == key and text.peek() == "[":
            yield text.elements()
        elif text.peek() == "[":
            for _ in text.elements():
                pass
        else:
            text.value()


def _row_of(line: bytes, number: int) -> Any:
    try:
        return parsed_line(line)
    except JsonFault as fault:
        return Unreadable("the line is no JSON", f"line {number}, {fault}")


def _skip_line(file: Any) -> None:
    while (part := file.readline(LONGEST)) and not part.endswith(b"\n"):
        pass


def _batches(path: Path, kind: str) -> Iterator[tuple[float, list[Any]]]:
    """Yield batches of rows as dictionaries, each with the share that has been read by then."""
    if kind == "parquet":
        with pq.ParquetFile(path, memory_map=True) as file:
            done, total = 0, max(1, file.metadata.num_rows)
            for group in range(file.metadata.num_row_groups):
                for rows in _group_rows(file, group):
                    done += len(rows)
                    yield done / total, rows
        return
    table = open_arrow(path).read_all()  # only addresses, if the file is not compressed
    done = 0
    for batch in table.to_batches(max_chunksize=BATCH):
        done += batch.num_rows
        yield done / max(1, table.num_rows), _plain_rows(batch)


def _group_rows(file: pq.ParquetFile, group: int) -> Iterator[list[Any]]:
    """Yield the rows of a row group; rows that cannot be read become `Unreadable` ones."""
    lacking = file.metadata.row_group(group).num_rows
    try:
        for batch in file.iter_batches(batch_size=BATCH, row_groups=[group]):
            lacking -= batch.num_rows
            yield _plain_rows(batch)
    except _TABLE_FAULTS as error:
        fault = Unreadable("the row group cannot be read", f"group {group}: {first_line(error)}")
        while lacking > 0:
            yield [fault] * min(lacking, BATCH)
            lacking -= BATCH


def _plain_rows(batch: pa.RecordBatch) -> list[Any]:
    try:
        batch.validate(full=True)  # raises for offsets outside the buffers and for invalid UTF-8
        return batch.to_pylist()
    except _TABLE_FAULTS:  # one bad text must not hide the other rows
        return [_plain_row(batch.slice(row, 1)) for row in range(batch.num_rows)]


def _plain_row(row: pa.RecordBatch) -> Mapping[str, Any] | Unreadable:
    try:
        row.validate(full=True)
        return row.to_pylist()[0]
    except _TABLE_FAULTS as error:
        return Unreadable("the row cannot be read", first_line(error))
