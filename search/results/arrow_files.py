"""Arrow tables from rows, and onto disk as Arrow and CSV, each file in one move."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv


def table(rows: Sequence[Mapping[str, Any]], types: Mapping[str, pa.DataType]) -> pa.Table:
    """A table of `rows`; the columns of `types` are there whatever the rows hold."""
    names = dict.fromkeys([name for row in rows for name in row] + list(types))
    return pa.table({n: _column([row.get(n) for row in rows], types.get(n)) for n in names})


def write(table: pa.Table, path: Path) -> None:
    """Write `path`.arrow and `path`.csv."""
    _replace(path.with_suffix(".arrow"), lambda file: _write_arrow(table, file))
    _replace(path.with_suffix(".csv"), lambda file: pyarrow.csv.write_csv(_flat(table), file))


def _column(values: list[Any], kind: pa.DataType | None) -> pa.Array:
    try:
        column = pa.array(values, kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # a knob whose values are of several types
        column = pa.array([None if v is None else str(v) for v in values])
    return column.cast(pa.string()) if pa.types.is_null(column.type) else column


def _flat(table: pa.Table) -> pa.Table:
    """The same without nested columns, for CSV: a list becomes its JSON."""
    for i, field in enumerate(table.schema):
        if pa.types.is_nested(field.type):
            texts = [None if v is None else json.dumps(v) for v in table.column(i).to_pylist()]
            table = table.set_column(i, field.name, pa.array(texts, pa.string()))
    return table


def _write_arrow(table: pa.Table, path: Path) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    write(temporary)
    os.replace(temporary, path)
