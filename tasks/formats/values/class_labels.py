"""Classes in a Hugging Face table, which are numbers there and names in its metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import pyarrow as pa


def with_class_names(rows: list[Any], schema: pa.Schema) -> list[Any]:
    """Return the rows of a batch in which a class is its name; a number below 0 is no class."""
    for name, classes in _class_names((schema.metadata or {}).get(b"huggingface", b"")).items():
        for row in rows:
            number = row.get(name)
            if isinstance(number, int) and number < len(classes):
                row[name] = classes[number] if number >= 0 else None
    return rows


@lru_cache(maxsize=64)
def _class_names(metadata: bytes) -> Mapping[str, Sequence[str]]:
    """Return the names of the classes of each column that has them."""
    try:
        features = json.loads(metadata)["info"]["features"]
        return {
            column: [str(name) for name in feature["names"]]
            for column, feature in features.items()
            if isinstance(feature, dict) and isinstance(feature.get("names"), list)
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
