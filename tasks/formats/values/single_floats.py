"""Floats of 32 or 16 bits in a table: as they were written, not with the digits of 64 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa


def with_short_floats(rows: list[Any], schema: pa.Schema) -> list[Any]:
    """Return the rows of a batch in which 0.1 of a column of 32 bits is 0.1, not 0.10000000149."""
    narrow = {field.name: kind for field in schema if (kind := _narrow(field.type)) is not None}
    for row in rows if narrow else ():
        for name, kind in narrow.items():
            row[name] = _short(row[name], kind)
    return rows


def _narrow(kind: pa.DataType) -> type[np.floating[Any]] | None:
    """Return the type of narrow floats in a column of them or of lists of them; None for others."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _narrow(kind.value_type)
    if pa.types.is_float32(kind):
        return np.float32
    return np.float16 if pa.types.is_float16(kind) else None


def _short(value: Any, kind: type[np.floating[Any]]) -> Any:
    if isinstance(value, list):
        return [_short(one, kind) for one in value]
    return None if value is None else float(str(kind(value)))
