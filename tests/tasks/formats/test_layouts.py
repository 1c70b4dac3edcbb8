"""Rows as the field's data sets have them on disk: read as they are meant, refused, or said."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from one_row import example, items_of, refusal, said
from small import png

from spaces.errors import InputError
from tasks.formats.coco import CAPTION_PROMPT
from tasks.formats.containers.opening import open_source
from tasks.formats.detect import detect
from tasks.formats.raw_example import Accepted
from tasks.formats.reader import read_items

QUESTION = {"image": "0.png", "question": "What is it?", "answer": "a cat"}


@pytest.mark.parametrize(
    "mark", ["&lt;image&gt;", "<image >", "< image>", "<image/>", "<images>", "[IMAGE]", "<IMAGE>"]
)
def test_a_misspelt_mark_is_an_image_or_refuses_the_row(mark: str, tmp_path: Path) -> None:
    row = QUESTION | {"question": f"{mark} What is it?"}
    assert example(row, tmp_path).prompt == "<image> What is it?"
    assert "placeholder" in refusal(row | {"image": None}, tmp_path)
    assert "placeholder" in refusal(QUESTION | {"answer": f"{mark} cat"}, tmp_path)


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("![cat](a.png) What?", "Markdown's images"),
        ('<img src="a.png"> What?', "HTML's images"),
        ("{image} What?", "{image}"),
        ("[image] What?", "[image]"),
        ("<media> What?", "<media>"),
    ],
)
def test_what_may_be_a_mark_is_said(text: str, note: str, tmp_path: Path) -> None:
    (item,) = items_of([QUESTION | {"question": text}], tmp_path)
    assert isinstance(item, Accepted) and item.notes == (f"{note} kept as text",)


def test_a_dialogue_written_into_an_answer_is_refused(tmp_path: Path) -> None:
    assert "ASSISTANT" in refusal(QUESTION | {"answer": "USER: x ASSISTANT: y"}, tmp_path)


@pytest.mark.parametrize("key", ["image_id", "imageId", "img_id"])
def test_an_image_that_is_named_by_its_id_alone_is_refused(key: str, tmp_path: Path) -> None:
    row = {"question": "What is it?", "answer": "a cat", key: 458752}
    assert refusal(row, tmp_path).startswith(f"an image by its id alone ({key}: ")
    assert example(row | {"image": "0.png"}, tmp_path).images == ("0.png",)
    assert example(row | {"image": None}, tmp_path).images == ()


@pytest.mark.parametrize(
    "image",
    [
        {"image": "0.png"},
        {"file_name": "0.png"},
        {"image_url": {"url": "0.png"}},
        {"bytes": None, "path": "0.png"},
    ],
)
def test_an_image_as_an_object_is_read(image: object, tmp_path: Path) -> None:
    row = {"messages": said("<image>q", "a"), "images": [image]}
    assert example(row, tmp_path).images == ("0.png",)
    wrong = {"messages": said("<image>q", "a"), "images": [{"place": "0.png"}]}
    assert "'place'" in refusal(wrong, tmp_path)


def test_turns_as_columns_and_completions_are_read(tmp_path: Path) -> None:
    turns = {"from": ["human", "gpt"], "value": ["<image>\nWhat?", "Cat."]}
    assert example({"image": "0.png", "conversations": turns}, tmp_path).answer == "Cat."
    assert example({"prompt": "q", "completion": "a"}, tmp_path).answer == "a"


def test_captions_without_a_question_have_that_of_coco(tmp_path: Path) -> None:
    (item,) = items_of([{"image": "0.png", "caption": ["A.", "B."], "sentids": [0]}], tmp_path)
    assert isinstance(item, Accepted) and item.examples[0].prompt == CAPTION_PROMPT
    assert item.examples[0].answers == ("A.", "B.")
    assert "captions without a question" in item.notes[-1]


def test_rows_of_another_split_are_said(tmp_path: Path) -> None:
    (item,) = items_of([QUESTION | {"split": "test"}], tmp_path)
    assert isinstance(item, Accepted)
    assert item.notes == ("split", "rows of their own split test, which is not used")


def test_files_of_other_kinds_name_what_would_do(tmp_path: Path) -> None:
    table = tmp_path / "results.csv"
    table.write_text("image,caption\n0.png,A man.\n")
    with pytest.raises(InputError, match="read_csv"):
        open_source(table)
    file = tmp_path / "questions.json"
    file.write_text('{"info": {}, "questions": [{"question": "q", "answer": "a"}], "license": {}}')
    with pytest.raises(InputError, match="the rows may be its list questions"):
        detect(file)


CHOICE = {"image": "0.png", "question": "Which?", "options": ["cat", "dog"], "answer": "A"}


def test_an_array_as_numpy_prints_it_has_all_its_options(tmp_path: Path) -> None:
    for text in ("['cat' 'dog']", "[\"cat\"\n 'dog']"):
        assert example(CHOICE | {"options": text}, tmp_path).prompt == "Which?\nA. cat\nB. dog"
    assert example(CHOICE | {"options": "['cat', 'dog']"}, tmp_path).prompt.endswith("B. dog")


def test_an_answer_that_is_no_option_is_said_or_refused(tmp_path: Path) -> None:
    for answer, notes in (
        ("A. cat", ()),
        ("Dog.", ()),
        ("a bird", ("answers that are no option",)),
    ):
        (item,) = items_of([CHOICE | {"answer": answer}], tmp_path)
        assert isinstance(item, Accepted) and item.notes == notes
    assert "another's letter" in refusal(CHOICE | {"answer": "A. dog"}, tmp_path)
    (item,) = items_of([CHOICE | {"options": ["cat", "cat"]}], tmp_path)
    assert isinstance(item, Accepted) and item.notes == ("options of equal text",)


def test_a_picture_in_base64_alone_is_read(tmp_path: Path) -> None:
    picture = png(3, 48)
    text = base64.b64encode(picture).decode()
    assert example(QUESTION | {"image": text}, tmp_path).images == (picture,)


def table_items(table: pa.Table, file: Path) -> list[object]:
    pq.write_table(table, file)
    return list(read_items(detect(file)))


def test_a_class_of_a_hub_table_is_its_name(tmp_path: Path) -> None:
    features = {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}, "question": {}}
    table = pa.table({"question": ["q", "r", "s"], "label": [1, 0, -1]})
    table = table.replace_schema_metadata(
        {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    )
    first, second, third = table_items(table, tmp_path / "train.parquet")
    assert isinstance(first, Accepted) and isinstance(second, Accepted)
    assert [item.examples[0].answer for item in (first, second)] == ["dog", "cat"]
    assert not isinstance(third, Accepted)


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    columns = [pa.array(["q"]), pa.array(["r"]), pa.array(["a"])]
    table = pa.Table.from_arrays(columns, names=["question", "question", "answer"])
    with pytest.raises(InputError, match="each column once, and has 'question' twice"):
        table_items(table, tmp_path / "train.parquet")


def test_rows_without_answers_or_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    file = tmp_path / "train.jsonl"
    file.write_text('{"question": "q", "image": "0.png"}\n')
    with pytest.raises(InputError, match="no answer in any of them"):
        detect(file)
    file.write_text('{"question": "q", "answer": "a", "answer": "b"}\n')
    with pytest.raises(InputError, match="cannot be read, the first of them: a key is"):
        detect(file)
