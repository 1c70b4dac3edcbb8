"""Rows and files broken at random: every row is accepted or rejected, and nothing else happens."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from raw import ROWS, coco, write_images

from spaces.errors import InputError
from tasks.formats.detect import detect
from tasks.formats.images import ImageFolder
from tasks.formats.raw_example import Accepted, Item, RowError
from tasks.formats.reader import read_items

VALUES: list[Any] = [
    *(None, "", " ", 0, -1, 2**70, 1.5, float("nan"), float("inf"), True, [], {}, [[]], [None]),
    *("<image>", "<image><image>", "\ud800", "\x00", "x" * 3000, "é漢", "../a.png", "/etc/passwd"),
    *("0.png", "http://a/b.png", "data:image/png;base64,!!", "data:", "a\x00b", {"bytes": "AAAA"}),
    *({"bytes": None, "path": None}, ["0.png", 3], {"from": "human"}, [{"role": "user"}]),
    *({"type": "image"}, [{"type": "text"}], {"text": ["a"]}, [{"answer": None}], [[["x"]] * 3]),
]
MORE = (
    "options choices A B answer_idx label weight loss objects file_name image_1 history system context "
    "input tools"
).split()
"""Keys that a mutation adds, which change what a row means."""
TEXTS = [
    *("<bbox>", "<|im_end|>", "<image 1>", "</s>", "a\u200bb", "A. x B. y", '["a", "b"]', "1", "B"),
    *("What? <img>0.png</img>", "<ref-object>", "(A) x (B) y", "<video>", "ASSISTANT:", "[{}]"),
]
FEW, MANY = 84, 3_500
"""Rows of each of six formats: by default, and behind the marker `fuzz`, more than 20,000 in all."""


def mutated(value: Any, draw: random.Random) -> Any:
    """Replace, drop, double or rename something in a value."""
    if isinstance(value, dict) and value and draw.random() < 0.8:
        key, changed = draw.choice(list(value)), dict(value)
        match draw.randrange(4):
            case 0:
                del changed[key]
            case 1:
                changed[draw.choice(["image", "images", "answers", "size", "x"])] = changed.pop(key)
            case _:
                changed[key] = mutated(value[key], draw)
        return changed
    if isinstance(value, list) and value and draw.random() < 0.8:
        place, changed = draw.randrange(len(value)), list(value)
        match draw.randrange(4):
            case 0:
                del changed[place]
            case 1:
                changed.insert(place, changed[place])
            case _:
                changed[place] = mutated(value[place], draw)
        return changed
    return draw.choice(draw.choice([VALUES, TEXTS]))


def extended(row: Any, draw: random.Random) -> Any:
    """Add a key that changes what a row means, with any value."""
    if not isinstance(row, dict) or draw.random() < 0.7:
        return row
    return row | {draw.choice(MORE): draw.choice([*VALUES, *TEXTS, ["a", "b"], {"A": "x", "B": 1}])}


def good(name: str, number: int) -> dict[str, Any]:
    row = ROWS["pairs" if name == "table" else name](number % 4)
    if name == "coin" and number % 3 == 0:
        row |= {"answer_bbox": [1, 2, 30, 40], "size": [100, 100]}
    return row


def check(items: list[Item], rows: int, folder: Path) -> int:
    """Check that every row is there once, and that accepted images are bytes or faults; count the rows."""
    seen = [row for i in items for row in (i.rows if isinstance(i, Accepted) else (i.row,))]
    assert sorted(seen) == list(range(rows))
    images = ImageFolder(folder)
    for item in items:
        if isinstance(item, Accepted):
            assert item.examples
            for raw_example in item.examples:
                texts = (raw_example.id, *raw_example.texts())
                assert all(isinstance(text, str) and text.encode() is not None for text in texts)
                for reference in raw_example.images:
                    try:
                        assert isinstance(images.read(reference), bytes)
                    except RowError as refused:
                        assert refused.reason
        else:
            assert item.reason and str(item).encode()
    return len(seen)


@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.fuzz)])
@pytest.mark.parametrize("name", ROWS)
def test_mutated_rows_are_accepted_or_rejected_and_none_is_lost(
    name: str, count: int, tmp_path: Path
) -> None:
    draw, total, accepted = random.Random(f"{name} {count}"), 0, 0
    write_images(tmp_path, 4)
    path = tmp_path / "x.json"
    for number in range(7):
        rows = [good(name, n) for n in range(count // 7)]
        for _ in range(draw.randint(1, 2)):
            rows = [mutated(row, draw) if draw.random() < 0.6 else row for row in rows]
            rows = [extended(row, draw) for row in rows]
        as_lines = number % 2
        text = "\n".join(map(json.dumps, rows)) if as_lines else json.dumps(rows)
        path.write_text(text)
        items = list(read_items(detect(path, name)))
        total += check(items, len(rows), tmp_path)
        accepted += sum(isinstance(item, Accepted) for item in items)
    print(f"{name}: {total} mutated rows, {accepted} accepted, {total - accepted} rejected")
    assert total == 7 * (count // 7)
    assert 0 < accepted < total


@pytest.mark.parametrize("files", [2, pytest.param(70, marks=pytest.mark.fuzz)])
def test_mutated_captions_are_accepted_or_rejected_and_none_is_lost(
    files: int, tmp_path: Path
) -> None:
    draw, total = random.Random(5), 0
    for _ in range(files):
        data = coco(20)
        data["annotations"] = [mutated(one, draw) for one in data["annotations"]]
        broken = draw.randrange(20)
        data["images"][broken] = mutated(data["images"][broken], draw)
        path = tmp_path / "x.json"
        path.write_text(json.dumps(data))
        items = list(read_items(detect(path)))
        seen = [row for i in items for row in (i.rows if isinstance(i, Accepted) else (i.row,))]
        # Every caption, and every image without one.
        notes = data["annotations"]
        assert set(range(len(notes))) <= set(seen) and len(seen) == len(set(seen))
        total += len(seen)
    print(f"coco: {total} mutated captions")
    assert total >= 40 * files - 40


def damaged(data: bytes, draw: random.Random) -> bytes:
    """Overwrite, cut out or double a piece of some bytes, or cut off the end."""
    start = draw.randrange(len(data))
    end = min(len(data), start + draw.randint(1, 40))
    match draw.randrange(4):
        case 0:
            return data[:start] + draw.randbytes(end - start) + data[end:]
        case 1:
            return data[:start] + data[end:]
        case 2:
            return data[:end] + data[start:]
        case _:
            return data[:start]


def parquet(rows: list[dict[str, Any]]) -> bytes:
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize(
    "write",
    [
        lambda rows: json.dumps(rows).encode(),
        lambda rows: "\n".join(map(json.dumps, rows)).encode(),
        lambda rows: json.dumps(coco(5)).encode(),
        parquet,
    ],
    ids=["list", "lines", "object", "parquet"],
)
def test_damaged_files_are_read_as_far_as_they_go(
    write: Callable[[list[dict[str, Any]]], bytes], tmp_path: Path
) -> None:
    draw, path = random.Random(1), tmp_path / "x.json"
    data = write([ROWS["swift"](n) for n in range(5)])
    for _ in range(400):
        path.write_bytes(damaged(data, draw))
        try:
            found = detect(path)
        except InputError:
            continue
        items = list(read_items(found))
        seen = [row for i in items for row in (i.rows if isinstance(i, Accepted) else (i.row,))]
        assert sorted(seen) == list(range(len(seen)))
