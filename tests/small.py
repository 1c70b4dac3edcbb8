"""Small benchmarks on disk, for tests that need tasks but not the embedded ones."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from PIL import Image

SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "image": pa.struct({"bytes": pa.binary(), "path": pa.string()}),
        "prompt": pa.string(),
        "answer": pa.string(),
        "answers": pa.list_(pa.string()),
    }
)


def png(color: int = 0, size: int = 32) -> bytes:
    """An image with some structure, so that a part of its file is not the whole picture."""
    picture = Image.new("RGB", (size, size), (color % 256, 40, 90))
    for i in range(size):
        picture.putpixel((i, (i * 7 + color) % size), (255, i % 256, color % 256))
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def row(number: int, answer: str = "yes", **changes: Any) -> dict[str, Any]:
    """One good row, with changes."""
    whole = {
        "id": f"a{number}",
        "image": {"bytes": png(number), "path": None},
        "prompt": "Is it whole?",
        "answer": answer,
        "answers": [answer],
    }
    return whole | changes


def rows(count: int) -> list[dict[str, Any]]:
    """Good rows whose answers alternate."""
    return [row(number, answer=("yes", "no")[number % 2]) for number in range(count)]


def write_rows(
    path: Path, content: Sequence[Mapping[str, Any]], schema: pa.Schema = SCHEMA
) -> Path:
    """A Parquet file of rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(content), schema=schema), path)
    return path


def write_benchmark(root: Path, names: Sequence[str] = ("left", "right"), **changes: Any) -> Path:
    """A folder with benchmark.yaml and tasks of 6, 4 and 4 good rows; `changes` to its keys."""
    for name in names:
        for split, count in (("train", 6), ("validation", 4), ("test", 4)):
            write_rows(root / name / f"{split}.parquet", rows(count))
    task = {"metric": "exact_match", "max_new_tokens": 3, "closed": True}
    data = {"name": "small", "order": list(names), "tasks": {name: dict(task) for name in names}}
    (root / "benchmark.yaml").write_text(yaml.safe_dump(data | changes, sort_keys=False))
    return root
