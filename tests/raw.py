"""Small data in the formats that users bring, for tests: good rows, and the folder they lie in."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from small import png

Rows = list[dict[str, Any]]


def llava(number: int) -> dict[str, Any]:
    """A row of LLaVA's training data; answers alternate."""
    turns = [
        {"from": "human", "value": "<image>\nWhat is it?"},
        {"from": "gpt", "value": ("cat", "dog")[number % 2]},
    ]
    return {"id": f"a{number}", "image": f"{number}.png", "conversations": turns}


def coin(number: int) -> dict[str, Any]:
    return {
        "question_id": number,
        "image": f"./{number}.png",
        "text": "What is it?",
        "answer": ("cat", "dog")[number % 2],
    }


def swift(number: int) -> dict[str, Any]:
    messages = [
        {"role": "user", "content": "<image>What is it?"},
        {"role": "assistant", "content": ("cat", "dog")[number % 2]},
    ]
    return {"messages": messages, "images": [f"{number}.png"]}


def sharegpt(number: int) -> dict[str, Any]:
    row = llava(number)
    del row["image"]
    return row | {"images": [f"{number}.png"], "system": "Be short."}


def pairs(number: int) -> dict[str, Any]:
    answer = ("cat", "dog")[number % 2]
    return {"image": f"{number}.png", "prompt": "What is it?", "answer": answer}


def table(number: int) -> dict[str, Any]:
    """A row of a Hugging Face dataset, with the image inside."""
    return {
        "question_id": number,
        "question": "What is it?",
        "answers": [("cat", "dog")[number % 2]] * 3,
        "image": {"bytes": png(number), "path": f"{number}.png"},
    }


def coco(count: int) -> dict[str, Any]:
    """Captions of `count` images, two of each."""
    notes = [{"image_id": n // 2, "id": n, "caption": f"caption {n}"} for n in range(2 * count)]
    images = [{"id": n, "file_name": f"{n}.png"} for n in range(count)]
    return {"info": {"year": 2014}, "annotations": notes, "images": images}


ROWS: dict[str, Callable[[int], dict[str, Any]]] = {
    "llava": llava,
    "coin": coin,
    "swift": swift,
    "sharegpt": sharegpt,
    "pairs": pairs,
    "table": table,
}
NAMES = (*ROWS, "coco")


def write_images(folder: Path, count: int) -> None:
    """`0.png`, `1.png`, ..., all different."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"{number}.png").write_bytes(png(number))


def write_json(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def write_lines(path: Path, rows: Rows) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_good(folder: Path, name: str, count: int = 6) -> Path:
    """A folder with `count` images and one good file of a format; returns the file."""
    write_images(folder, count)
    if name == "coco":
        return write_json(folder / "data.json", coco(count))
    rows = [ROWS[name](number) for number in range(count)]
    if name == "table":
        pq.write_table(pa.Table.from_pylist(rows), folder / "data.parquet")
        return folder / "data.parquet"
    if name in ("swift", "pairs"):
        return write_lines(folder / "data.jsonl", rows)
    return write_json(folder / "data.json", rows)


TASK = {"metric": "exact_match", "max_new_tokens": 3}


def write_yaml(root: Path, tasks: dict[str, dict[str, Any]], **changes: Any) -> Path:
    """A benchmark YAML of raw tasks."""
    data = {"name": "raw", "tasks": {name: TASK | entry for name, entry in tasks.items()}}
    path = root / "tasks.yaml"
    path.write_text(yaml.safe_dump(data | changes, sort_keys=False))
    return path
