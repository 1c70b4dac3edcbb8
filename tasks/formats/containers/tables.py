"""Rows of Parquet and Arrow files, a batch at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from spaces.errors import InputError, first_line, shown
from tasks.data.rows import open_arrow
from tasks.formats.containers.json_text import Unreadable
from tasks.formats.values.class_labels import with_class_names
from tasks.formats.values.single_floats import with_short_floats

BATCH = 64
"""Rows of a table that are Python objects at the same time: each may hold an image."""
TABLE_FAULTS = (pa.ArrowException, OSError, UnicodeDecodeError, ValueError, OverflowError)
"""Exceptions that pyarrow raises for a damaged file."""


def table_batches(path: Path, kind: str) -> Iterator[tuple[float, list[Any]]]:
    """Yield batches of rows as dictionaries, each with the share that has been read by then."""
    if kind == "parquet":
        with pq.ParquetFile(path, memory_map=True) as file:
            _check_names(path, file.schema_arrow.names)
            done, total = 0, max(1, file.metadata.num_rows)
            for group in range(file.metadata.num_row_groups):
                for rows in _group_rows(file, group):
                    done += len(rows)
                    yield done / total, rows
        return
    table = open_arrow(path).read_all()  # only addresses, if the file is not compressed
    _check_names(path, table.column_names)
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
    except TABLE_FAULTS as error:
        fault = Unreadable("the row group cannot be read", f"group {group}: {first_line(error)}")
        while lacking > 0:
            yield [fault] * min(lacking, BATCH)
            lacking -= BATCH


def _plain_rows(batch: pa.RecordBatch) -> list[Any]:
    try:
        batch.validate(full=True)  # raises for offsets outside the buffers and for invalid UTF-8
        return _as_meant(batch)
    except TABLE_FAULTS:  # one bad text must not hide the other rows
        return [_plain_row(batch.slice(row, 1)) for row in range(batch.num_rows)]


def _as_meant(batch: pa.RecordBatch) -> list[Any]:
    rows = with_short_floats(batch.to_pylist(), batch.schema)
    return with_class_names(rows, batch.schema)


def _check_names(path: Path, names: list[str]) -> None:
    """Raise `InputError` for a column that is there twice: of its values, one would vanish."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(f"{path} must have each column once, and has {shown(twice[0])} twice")


def _plain_row(row: pa.RecordBatch) -> Mapping[str, Any] | Unreadable:
    try:
        row.validate(full=True)
        return _as_meant(row)[0]
    except TABLE_FAULTS as error:
        return Unreadable("the row cannot be read", first_line(error))
