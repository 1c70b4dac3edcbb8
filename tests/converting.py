"""One raw task converted, and what came of it, for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from raw import write_yaml

from tasks import Example, load_benchmark
from tasks.raw_benchmark import convert_benchmark
from tasks.shards import MANIFEST

SPLITS = ("train", "validation", "test")


def converted(root: Path, entry: dict[str, Any] | None = None, **changes: Any) -> Any:
    """The one task `t` of a benchmark in `root`, converted into `root/out`."""
    path = write_yaml(root, {"t": entry or {}}, **changes)
    return load_benchmark(convert_benchmark(path, root / "out")).task("t")


def folder_of(task: Any) -> Path:
    return task.files["train"][0].parent


def manifest_of(task: Any) -> dict[str, Any]:
    return json.loads((folder_of(task) / MANIFEST).read_text())


def examples(task: Any) -> dict[str, list[Example]]:
    return {split: list(task.examples(split)) for split in SPLITS}


def sizes(task: Any) -> dict[str, int]:
    return {split: len(task.examples(split)) for split in SPLITS}
