"""`tasks.validate` on one good and one badly broken folder of every format; `-s` shows what it prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from raw import NAMES, ROWS, coco, write_good, write_lines, write_yaml

from tasks import load_benchmark
from tasks.data.task import SPLITS
from tasks.user_data.prepared_benchmark import prepare_benchmark
from tasks.validate import main

COUNT = 10
SPOILT = 8
"""Rows of a broken folder that have something wrong with them; the last two are good."""


def spoil(folder: Path, name: str) -> None:
    """Break a good folder's rows 0 to 7, each in a way of its own."""
    (folder / "0.png").unlink()
    (folder / "1.png").write_bytes(b"not an image")
    (folder / "2.png").write_bytes((folder / "2.png").read_bytes()[:60])
    if name == "coco":
        return spoil_captions(folder)
    rows = [ROWS[name](number) for number in range(COUNT)]
    outside(rows[3], "../elsewhere.png")
    outside(rows[4], "http://example.org/4.png")
    for row, answer in ((rows[5], ""), (rows[6], " ")):
        answered(row, answer)
    asked(rows[7])
    if name == "table":
        rows[0]["image"]["bytes"] = b""
        rows[1]["image"]["bytes"] = b"not an image"
        rows[2]["image"]["bytes"] = rows[2]["image"]["bytes"][:60]
        pq.write_table(pa.Table.from_pylist(rows), folder / "data.parquet")
    elif (folder / "data.jsonl").exists():
        lines = [json.dumps(row) for row in rows]
        (folder / "data.jsonl").write_text("\n".join(lines) + "\n")
    else:
        (folder / "data.json").write_text(json.dumps(rows))
    return None


def outside(row: dict[str, Any], path: str) -> None:
    if isinstance(row.get("image"), dict):
        row["image"] = {"bytes": None, "path": path}
    elif "images" in row:
        row["images"] = [path]
    else:
        row["image"] = path


def answered(row: dict[str, Any], answer: str) -> None:
    """Put an empty answer where the format has it."""
    if "conversations" in row:
        row["conversations"][1]["value"] = answer
    elif "messages" in row:
        row["messages"][1]["content"] = answer
    elif "answers" in row:
        row["answers"] = [answer] * 3
    else:
        row["answer"] = answer


def asked(row: dict[str, Any]) -> None:
    """Put two marks for one image."""
    if "conversations" in row:
        row["conversations"][0]["value"] = "<image><image> which?"
    elif "messages" in row:
        row["messages"][0]["content"] = "<image><image> which?"
    else:
        name = next(name for name in ("prompt", "question", "text") if name in row)
        row[name] = "<image><image> which?"


def spoil_captions(folder: Path) -> None:
    data = coco(COUNT)
    for note in data["annotations"]:
        if note["image_id"] in (5, 6):
            note["caption"] = " "
    data["images"][3]["file_name"] = "../elsewhere.png"
    data["images"][4]["file_name"] = "http://example.org/4.png"
    data["images"][7]["file_name"] = "gone.png"
    (folder / "data.json").write_text(json.dumps(data))


@pytest.mark.parametrize("name", NAMES)
def test_a_good_folder_has_nothing_to_mend(name: str, tmp_path: Path) -> None:
    write_good(tmp_path, name, COUNT)
    assert main([str(tmp_path)]) == 0


@pytest.mark.parametrize("name", NAMES)
def test_every_row_of_a_badly_broken_folder_is_named_with_its_reason(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_good(tmp_path, name, COUNT)
    spoil(tmp_path, name)
    rejected = tmp_path / "rejected.jsonl"
    assert main([str(tmp_path), "--rejected", str(rejected)]) == 1
    said = capsys.readouterr().out
    print(said)
    lines = [json.loads(line) for line in rejected.read_text().splitlines()]
    each = 2 if name == "coco" else 1  # two captions an image
    assert f"{(COUNT - SPOILT) * each} accepted" in said
    assert len({line["row"] for line in lines}) >= SPOILT * each
    assert all(line["reason"] for line in lines)
    assert len({line["reason"] for line in lines}) >= 4
    assert "Traceback" not in said


def test_the_report_says_which_keys_are_not_used_and_which_column_is_meant(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"question": "q", "prompt": "p", "answer": f"a\u200b{n}", "source": "x"} for n in range(3)
    ]
    (tmp_path / "data.json").write_text(json.dumps(rows))
    assert main([str(tmp_path)]) == 1
    assert "prompt under several names" in capsys.readouterr().out
    assert main([str(tmp_path), "--columns", "prompt=question"]) == 0
    said = capsys.readouterr().out
    assert "not used    keys source (3)" in said
    assert "noted       zero-width spaces kept as text (3)" in said
    for wrong in ("prompt", "promt=question", "prompt=question,prompt=prompt", "prompt=other"):
        assert main([str(tmp_path), "--columns", wrong]) == 2


def test_boxes_in_pixels_are_converted_as_shares_of_their_pictures(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    folder.mkdir()
    rows = []
    for number in range(30):
        Image.new("RGB", (40, 20), (number, 0, 0)).save(folder / f"{number}.png")
        turns = [
            {"role": "user", "content": "<image>Find <ref-object>."},
            {"role": "assistant", "content": "<bbox>"},
        ]
        objects = {"ref": ["it"], "bbox": [[4, 4, 20, 10 + number % 2]]}
        rows.append({"messages": turns, "images": [f"{number}.png"], "objects": objects})
    write_lines(folder / "data.jsonl", rows)
    path = write_yaml(tmp_path, {"t": {"metric": "grounding_accuracy"}})
    task = load_benchmark(prepare_benchmark(path, tmp_path / "out")).task("t")
    answers = {one.answer for split in SPLITS for one in task.examples(split)}
    assert answers == {"[0.1,0.2,0.5,0.5]", "[0.1,0.2,0.5,0.55]"}
    assert {e.prompt for e in task.examples("train")} == {"<image>Find it."}
