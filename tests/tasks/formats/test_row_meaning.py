"""Meaning of rows: numbers, images, columns, marks, tokens, boxes, unused keys."""

from __future__ import annotations

import datetime
import decimal
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from one_row import example, items_of, refusal, said
from raw import pairs, swift, write_images, write_json
from small import png

from spaces.errors import InputError
from tasks.formats.detect import detect
from tasks.formats.raw_example import Accepted, Rejected
from tasks.formats.reader import read_items
from tasks.formats.values.boxes import with_boxes
from tasks.formats.values.columns import Columns, columns_of
from tasks.formats.values.noted_row import NotedRow
from tasks.formats.values.texts import as_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3.0, "3"),
        (-0.0, "0"),
        (0.1, "0.1"),
        (1e21, "1e+21"),
        (2**70, str(2**70)),
        (10**400, str(10**400)),
        (decimal.Decimal("3.00"), "3.00"),
        (datetime.date(2024, 1, 5), "2024-01-05"),
        (datetime.datetime(2024, 1, 5, 10, 30), "2024-01-05 10:30:00"),
    ],
)
def test_numbers_and_dates_are_written_as_their_file_has_them(value: Any, text: str) -> None:
    assert as_text(value, "answer") == text


def test_whole_numbers_of_a_column_with_a_gap_stay_whole(tmp_path: Path) -> None:
    single = pa.array([0.1, 2.0, None], pa.float32())
    columns = {"question": ["q"] * 3, "answer": pa.array([1.0, None, 3.0]), "options": [None] * 3}
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    found = list(read_items(detect(tmp_path / "x.parquet")))
    assert [i.examples[0].answer if isinstance(i, Accepted) else i.reason for i in found] == [
        "1",
        "no answer",
        "3",
    ]
    pq.write_table(pa.table({"question": ["q"] * 3, "answer": single}), tmp_path / "x.parquet")
    found = list(read_items(detect(tmp_path / "x.parquet")))
    assert [i.examples[0].answer for i in found[:2] if isinstance(i, Accepted)] == ["0.1", "2"]


def test_an_image_itself_wins_over_names_and_equal_names_are_one(tmp_path: Path) -> None:
    row = {"question": "q", "answer": "a", "image": {"bytes": png(1), "path": "1.png"}}
    pq.write_table(pa.Table.from_pylist([row | {"file_name": "b/2.png"}]), tmp_path / "x.parquet")
    (item,) = read_items(detect(tmp_path / "x.parquet"))
    assert isinstance(item, Accepted)
    assert (item.examples[0].images, item.notes) == ((png(1),), ("file_name",))
    row = {"question": "q", "answer": "a", "image": "./1.png", "file_name": "1.png"}
    assert example(row, tmp_path).images == ("./1.png",)
    row |= {"file_name": "2.png"}
    assert "image, file_name; columns: {image: image}" in refusal(row, tmp_path)
    assert example(row, tmp_path, Columns({"image": "file_name"})).images == ("2.png",)
    numbered = {"question": "<image 1> or <image 2>?", "answer": "a", "image_1": "1.png"}
    found = example(numbered | {"image_2": "2.png", "image_3": None}, tmp_path)
    assert (found.images, found.prompt) == (("1.png", "2.png"), "<image> or <image>?")
    assert "columns: {image: scan}" in refusal(
        {"question": "q", "answer": "a", "scan": "1.png"}, tmp_path
    )


def test_two_columns_that_differ_name_the_key_that_settles_it(tmp_path: Path) -> None:
    row = {"question": "q?", "prompt": "p?", "answer": "a"}
    assert "prompt, question; columns: {prompt: prompt}" in refusal(row, tmp_path)
    assert example(row, tmp_path, Columns({"prompt": "question"})).prompt == "q?"
    assert example(row | {"prompt": "q?"}, tmp_path).prompt == "q?"
    row = {"question": "q?", "answer": "a", "response": "b"}
    assert "answer, response; columns: {answer: answer}" in refusal(row, tmp_path)
    row = {"question": "q?", "answer": "a", "solution": "It is, for ..."}
    (item,) = items_of([row], tmp_path)
    assert isinstance(item, Accepted) and item.notes == ("solution",)


def test_columns_of_a_task_are_checked(tmp_path: Path) -> None:
    for values in (
        [],
        {"promt": "q"},
        {"prompt": 3},
        {"prompt": "q", "answer": "q"},
        {"index_from": 2},
        {"ignore": [1]},
        {"ignore": ["q"], "prompt": "q"},
    ):
        with pytest.raises(InputError, match="here: columns"):
            columns_of(values, "here")
    path = write_json(tmp_path / "x.json", [pairs(0)])
    with pytest.raises(InputError, match=r'unknown column "promt".*did you mean "prompt"'):
        detect(path, columns=Columns({"prompt": "promt"}))
    with pytest.raises(InputError, match=r'unknown column "anwser"'):
        detect(path, "pairs", columns=Columns({"answer": "anwser"}))


@pytest.mark.parametrize(
    ("prompt", "filled"),
    [
        ("<image 1>What?", "<image>What?"),
        ("<Image>What?", "<image>What?"),
        ("<|image_1|>What?", "<image>What?"),
        ("<|vision_start|><|image_pad|><|vision_end|>What?", "<image>What?"),
        ("<ImageHere>What?", "<image>What?"),
        ("Picture 1: <img>0.png</img>\nWhat?", "Picture 1: <image>\nWhat?"),
        ("What?\n<image>", "What?\n<image>"),
    ],
)
def test_other_marks_of_images_are_filled_where_they_can_only_mean_them(
    prompt: str, filled: str, tmp_path: Path
) -> None:
    row = {"image": "0.png", "question": prompt, "answer": "a"}
    found = example(row, tmp_path)
    assert (found.prompt, found.images) == (filled, ("0.png",))
    row = {"images": ["0.png"], "messages": said(prompt, "a")}
    assert example(row, tmp_path).prompt == filled


TOKENS = [
    *("<image 1>", "<|image_pad|>", "<video>", "<audio>", "<bbox>", "<ref-object>", "<ImageHere>"),
    *(
        "[INST] x [/INST]",
        "<|im_end|>",
        "</s>",
        "<s>",
        "\x00",
        "<<SYS>>",
        "<|eot_id|>",
        "<img>",
    ),
    *("<start_of_turn>", "### Assistant: x", "<IMG_CONTEXT>", "<\uff5cUser\uff5c>", "\x1b[0m"),
]


@pytest.mark.parametrize("token", TOKENS)
def test_no_token_of_another_framework_is_trained(token: str, tmp_path: Path) -> None:
    for row in (
        {"question": f"What? {token}", "image": None, "answer": "a", "images": ["0.png", "1.png"]},
        {"question": "What?", "answer": f"a{token}"},
        {"question": "What?", "answers": ["a", f"a{token}"]},
        {"question": "What?", "answer": "a", "options": ["a", f"b {token}"]},
        {"question": "What?", "answer": "a", "system": f"Be {token}"},
        {"question": "What?", "answer": "a", "history": [["x", f"y{token}"]]},
        {"messages": said("What?", "a", "And?", f"b{token}")},
        {"messages": [{"role": "system", "content": f"Be {token}"}, *said("What?", "a")]},
    ):
        assert refusal(row, tmp_path)
    data = {"images": [{"id": 1, "file_name": "1.png"}]}
    data["annotations"] = [{"image_id": 1, "caption": c} for c in ("a", f"b {token}")]
    accepted, rejected = sorted(
        read_items(detect(write_json(tmp_path / "c.json", data))),
        key=lambda i: isinstance(i, Rejected),
    )
    assert isinstance(accepted, Accepted) and isinstance(rejected, Rejected)


def test_unseen_characters_are_no_answer_alone_and_are_said_in_a_text(tmp_path: Path) -> None:
    assert refusal({"question": "q", "answer": "\u200b \ufeff"}, tmp_path).startswith(
        "empty answer"
    )
    (item,) = items_of([{"question": "q", "answer": "a\u200bb <box>1</box>"}], tmp_path)
    assert isinstance(item, Accepted)
    assert item.notes == (
        "zero-width spaces kept as text",
        "<box> kept as text",
        "</box> kept as text",
    )


def boxed(**objects: Any) -> dict[str, Any]:
    turns = said("<image>Find <ref-object>.", "<bbox>")
    return {"messages": turns, "images": ["0.png"], "objects": objects}


def test_objects_are_filled_in_as_shares_of_the_picture(tmp_path: Path) -> None:
    write_images(tmp_path, 1)
    from PIL import Image

    Image.new("RGB", (40, 20)).save(tmp_path / "0.png")

    def read(name: Any) -> bytes:
        return (tmp_path / name).read_bytes()

    for row in (
        boxed(ref=["the cat"], bbox=[[4, 4, 20, 20]]),
        boxed(ref=["the cat"], bbox=[[0.1, 0.2, 0.5, 1]], bbox_type="norm1"),
        boxed(ref=["the cat"], bbox=[[100, 200, 500, 1000]], bbox_type="norm1000"),
        boxed()
        | {"objects": json.dumps([{"caption": "the cat", "bbox": [4, 4, 20, 20], "image": 0}])},
    ):
        found = with_boxes(example(row, tmp_path), read)
        assert (found.prompt, found.answer) == ("<image>Find the cat.", "[0.1,0.2,0.5,1]")
        assert found.answers == ("[0.1,0.2,0.5,1]",)
    old = {"query": "<image>Find <ref-object>", "response": "<bbox>", "images": ["0.png"]}
    old |= {"objects": {"ref": ["it"], "bbox": [[4, 4, 20, 20]]}}
    assert with_boxes(example(old, tmp_path), read).answer == "[0.1,0.2,0.5,1]"


@pytest.mark.parametrize(
    "objects",
    [
        {},
        {"ref": ["a"]},
        {"ref": ["a"], "bbox": []},
        {"ref": ["a"], "bbox": [[1, 2]]},
        {"ref": ["a"], "bbox": [[1, 2, 3, "x"]]},
        {"ref": ["a", "b"], "bbox": [[1, 2, 3, 4]]},
        {"ref": ["a"], "bbox": [[1, 2, 3, 4]], "bbox_type": "yolo"},
        {"ref": ["a"], "bbox": [[1, 2, 3, 4]], "image_id": [3]},
        {"ref": ["a"], "bbox": [[0.5, 0.2, 0.1, 0.4]], "bbox_type": "norm1"},
    ],
)
def test_objects_that_do_not_fit_their_marks_refuse_the_row(
    objects: dict[str, Any], tmp_path: Path
) -> None:
    assert refusal(boxed(**objects), tmp_path)


def test_an_unknown_key_is_said(tmp_path: Path) -> None:
    row = swift(0) | {"source": "web", "metadata": {"a": 1}, "empty": "", "none": None}
    row["messages"][1]["name"] = "bot"
    (item,) = items_of([row], tmp_path)
    assert isinstance(item, Accepted) and item.notes == ("source", "metadata", "messages[].name")
    assert NotedRow({"a": float("nan"), "b": []}).notes() == ()
