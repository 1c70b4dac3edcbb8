"""Rows that the processor is tried on: the longest ones, and one of each kind."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image
from small import SCHEMA, rows, write_rows

from search.resources.probed_rows import MOST_KINDS, Picture, probed_rows, read_header
from tasks import Task

TURN = pa.struct({"prompt": pa.string(), "answer": pa.string()})
FIELDS = [pa.field("history", pa.list_(TURN)), pa.field("system", pa.string())]
WHOLE = pa.schema([*SCHEMA, *FIELDS])
COUNT = 200


def picture(size: tuple[int, int], mode: str = "RGB", form: str = "PNG") -> dict[str, Any]:
    buffer = BytesIO()
    Image.new(mode, size).save(buffer, form)
    return {"bytes": buffer.getvalue(), "path": None}


def task(folder: Path, changes: dict[int, dict[str, Any]]) -> Task:
    """Write a task whose training rows differ from plain ones at some places."""
    train = [r | changes.get(number, {}) for number, r in enumerate(rows(COUNT))]
    for split, some in (("train", train), ("validation", rows(4)), ("test", rows(4))):
        write_rows(folder / f"{split}.parquet", some, WHOLE)
    files = {s: (folder / f"{s}.parquet",) for s in ("train", "validation", "test")}
    return Task("t", "exact_match", 4, False, "", files)


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "a word " * 90},
        {"answer": "a word " * 90},
        {"system": "Be short."},
        {"history": [{"prompt": "What?", "answer": "That."}]},
        {"history": [{"prompt": "What? " * 80, "answer": "That."}]},
        {"history": [{"prompt": "What?<image>", "answer": "That."}], "prompt": "So?"},
        {"image": None},
        {"prompt": "<image>\nIs it whole?"},
        {"prompt": "Is it <image> whole?"},
        {"image": picture((2000, 5))},
        {"image": picture((5, 2000))},
        {"image": picture((1, 1))},
        {"image": picture((3, 40))},
        {"image": picture((900, 900))},
        {"image": picture((32, 32), "L")},
        {"image": picture((32, 32), "RGBA")},
        {"image": picture((32, 32), "CMYK", "JPEG")},
    ],
)
def test_a_row_unlike_all_others_is_tried(change: dict[str, Any], tmp_path: Path) -> None:
    assert ("train", 151) in list(probed_rows(task(tmp_path, {151: change})))


def test_each_row_is_tried_once_and_few_of_many(tmp_path: Path) -> None:
    tried = list(probed_rows(task(tmp_path, {})))
    assert len(tried) == len(set(tried)) < 3 * 17 + 8
    assert {split for split, _ in tried} == {"train", "validation", "test"}


def test_a_system_text_is_tried_among_many_sequences_of_roles(tmp_path: Path) -> None:
    turn = {"prompt": "What?", "answer": "That."}
    changes: dict[int, dict[str, Any]] = {n: {"history": [turn] * n} for n in range(1, 90)}
    changes |= {190: {"system": "Be short."}, 191: {"system": "Be short.", "history": [turn] * 4}}
    tried = list(probed_rows(task(tmp_path, changes)))
    assert {("train", 190), ("train", 191)} <= set(tried)


def test_rare_kinds_come_first_where_there_are_many(tmp_path: Path) -> None:
    sides = [(16 * 2 ** (n // 10), 16 * 2 ** (n % 10)) for n in range(MOST_KINDS + 16)]
    changes: dict[int, dict[str, Any]] = {n: {"image": picture(sides[n % 60])} for n in range(120)}
    changes |= {130: {"image": picture((48, 64), "LA")}, 131: {"image": picture((96, 32), "P")}}
    tried = list(probed_rows(task(tmp_path, changes)))
    assert {("train", 130), ("train", 131)} <= set(tried)


def test_pictures_of_nearly_one_size_are_one_kind() -> None:
    assert Picture("RGB", 500, 400).kind == Picture("RGB", 510, 410).kind
    others: list[Callable[[], Picture]] = [
        lambda: Picture("L", 500, 400),
        lambda: Picture("RGB", 1000, 400),
        lambda: Picture("RGB", 500, 4),
    ]
    assert all(other().kind != Picture("RGB", 500, 400).kind for other in others)


def test_bytes_that_are_no_picture_have_no_header() -> None:
    assert read_header(pa.py_buffer(b"GIF")) is None
