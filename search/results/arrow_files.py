"""Rows as Arrow tables, and Arrow tables as .arrow and .csv files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv

from spaces.files import replacing


def to_arrow(rows: Sequence[Mapping[str, Any]], types: Mapping[str, pa.DataType]) -> pa.Table:
    """Return a table of `rows`; the columns of `types` exist even where no row has them."""
    names = dict.fromkeys([name for row in rows for name in row] + list(types))
    return pa.table({n: _column([row.get(n) for row in rows], types.get(n)) for n in names})


def write_table(table: pa.Table, path: Path) -> None:
    """Write `path`.arrow and `path`.csv, each in one move."""
    with (
        replacing(path.with_suffix(".arrow")) as file,
        pa.OSFile(str(file), "wb") as sink,
        pa.ipc.new_file(sink, table.schema) as writer,
    ):
        writer.write_table(table)
    with replacing(path.with_suffix(".csv")) as file:
        pyarrow.csv.write_csv(_without_lists(table), file)


def _column(values: list[Any], data_type: pa.DataType | None) -> pa.Array:
    try:
        column = pa.array(values, data_type)
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # a knob whose values are of several types
        column = pa.array([None if v is None else str(v) for v in values])
    return column.cast(pa.string()) if pa.types.is_null(column.type) else column


def _without_lists(table: pa.Table) -> pa.Table:
    """Return the table with every list replaced by its JSON, as CSV needs."""
    for i, field in enumerate(table.schema):
        if pa.types.is_nested(field.type):
            texts = [None if v is None else json.dumps(v) for v in table.column(i).to_pylist()]
            table = table.set_column(i, field.name, pa.array(texts, pa.string()))
    return table
