"""Sizes of rows, computed without making examples of them."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small import png

from tasks.data.row_shapes import IMAGE
from tasks.data.rows import Rows

TURN = pa.struct({"prompt": pa.string(), "answer": pa.string()})
CELL = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def drawn(count: int) -> list[dict[str, Any]]:
    """Return rows of every form: with and without image, system text, turns and marks."""
    rng = random.Random(3)
    made = []
    for number in range(count):
        marks = rng.choice(["", f"{IMAGE}\n"])
        turns = [
            {"prompt": rng.choice(["é" * 9, f"{IMAGE} a"]), "answer": "b"}
            for _ in range(rng.randrange(3))
        ]
        made.append(
            {
                "prompt": f"{marks}What {number}? {rng.choice(['', IMAGE])}",
                "answer": "雪" * rng.randrange(1, 9),
                "history": rng.choice([None, turns]),
                "system": rng.choice([None, "", "Be short."]),
                "image": rng.choice([None, {"bytes": png(number), "path": None}]),
            }
        )
    return made


@pytest.mark.parametrize("derived", [True, False])
def test_shapes_are_those_of_the_examples(derived: bool, tmp_path: Path) -> None:
    kinds = {"prompt": pa.string(), "answer": pa.string(), "image": CELL}
    if derived:
        kinds |= {"history": pa.list_(TURN), "system": pa.string()}
    made = [{name: r[name] for name in kinds} for r in drawn(60)]
    pq.write_table(pa.Table.from_pylist(made, schema=pa.schema(kinds)), tmp_path / "t.parquet")
    rows = Rows([tmp_path / "t.parquet"], "train")
    shapes = rows.shapes()
    for number, example in enumerate(rows):
        earlier = sum(len(prompt) + len(answer) for prompt, answer in example.history)
        text = len(example.prompt) + len(example.answer) + len(example.system)
        assert shapes.characters[number] == text + earlier
        assert shapes.answer_characters[number] == len(example.answer)
        assert shapes.system[number] == bool(example.system)
        assert shapes.turns[number] == len(example.history)
        assert shapes.images[number] == len(example.images)
        starts = example.prompt.startswith(IMAGE)
        assert shapes.marks[number] == example.prompt.count(IMAGE) + starts
        before = sum(prompt.count(IMAGE) for prompt, _ in example.history)
        assert shapes.earlier_marks[number] == before
