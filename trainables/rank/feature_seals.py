"""Seals of the rows of features files, checked when a row is first read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def example_seal(file: Path, row: Mapping[str, Any]) -> bytes:
    """Return the seal of an example's row, which also names its file."""
    named = [file.stem, *(row[name] for name in ("row", "image", "read", "seconds"))]
    return hashlib.sha256(json.dumps(named).encode() + b"\0" + memoryview(row["inputs"])).digest()


def image_seal(image: str, shape: Sequence[int], dtype: str, content: Any) -> bytes:
    """Return the seal of an image's row."""
    sha256 = hashlib.sha256(json.dumps([image, list(shape), dtype]).encode() + b"\0")
    sha256.update(memoryview(content))
    return sha256.digest()


def sound_row(file: Path, row: Mapping[str, Any]) -> bool:
    """Return whether the seal of a row fits; `row` holds Arrow scalars of either kind of file."""
    seal = row["seal"].as_py()
    if "inputs" in row:
        values = {name: value.as_py() for name, value in row.items() if name != "inputs"}
        return example_seal(file, values | {"inputs": row["inputs"].as_buffer()}) == seal
    image, shape, dtype = (row[name].as_py() for name in ("image", "shape", "dtype"))
    return image_seal(image, shape, dtype, row["features"].as_buffer()) == seal
