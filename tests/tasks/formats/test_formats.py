from __future__ import annotations

import base64
import json
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from raw import (
    NAMES,
    ROWS,
    coco,
    llava,
    pairs,
    swift,
    write_good,
    write_images,
    write_json,
    write_lines,
)
from small import png

from spaces.errors import InputError
from tasks.formats.detect import detect
from tasks.formats.raw_example import Accepted, Item, RawExample, Rejected
from tasks.formats.reader import read_items


def read(path: Path, format: str | None = None) -> list[Item]:
    return list(read_items(detect(path, format)))


def examples(items: Sequence[Item]) -> list[RawExample]:
    return [
        raw_example for item in items if isinstance(item, Accepted) for raw_example in item.examples
    ]


def reasons(items: Sequence[Item]) -> list[str]:
    return [item.reason for item in items if isinstance(item, Rejected)]


def one(tmp_path: Path, row: Any) -> Item:
    """Read a row behind a good one, by which the format is detected."""
    path = write_json(tmp_path / "x.json", [pairs(0), row])
    return read(path, "pairs")[1]


@pytest.mark.parametrize("name", NAMES)
def test_every_format_is_detected_and_read_whole(name: str, tmp_path: Path) -> None:
    found = detect(write_good(tmp_path, name))
    assert found.format == name
    items = list(read_items(found))
    assert not reasons(items)
    assert len(examples(items)) == 6
    assert all(
        len(raw_example.images) == 1 and raw_example.prompt for raw_example in examples(items)
    )
    said = [raw_example.answer for raw_example in examples(items)]
    assert said[:2] == (["caption 0", "caption 2"] if name == "coco" else ["cat", "dog"])


@pytest.mark.parametrize("name", [name for name in ROWS if name != "table"])
def test_json_and_json_lines_are_detected_whatever_the_files_name(
    name: str, tmp_path: Path
) -> None:
    rows = [ROWS[name](number) for number in range(4)]
    listed = read(write_json(tmp_path / "list.jsonl", rows))
    lines = read(write_lines(tmp_path / "lines.json", rows))
    (tmp_path / "wrapped.json").write_text("\ufeff" + json.dumps({"version": 1, "data": rows}))
    (tmp_path / "pretty.json").write_text(json.dumps(rows, indent=4))
    assert listed == lines == read(tmp_path / "wrapped.json") == read(tmp_path / "pretty.json")
    assert len(examples(listed)) == 4


def test_a_single_line_is_json_lines_even_with_lists_in_it(tmp_path: Path) -> None:
    assert len(examples(read(write_lines(tmp_path / "x.json", [swift(0)])))) == 1


def test_conversations_in_parquet_are_conversations(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist([swift(0), swift(1)]), tmp_path / "x.parquet")
    found = detect(tmp_path / "x.parquet")
    assert (found.format, len(examples(list(read_items(found))))) == ("swift", 2)


def test_the_error_of_an_unknown_format_names_the_keys_found_and_the_known_formats(
    tmp_path: Path,
) -> None:
    path = write_json(tmp_path / "x.json", [{"a": 1, "b": 2}])
    with pytest.raises(InputError, match="rows with the keys a, b; known are") as error:
        detect(path)
    assert all(name in str(error.value) for name in NAMES)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"must be a JSON list, JSON Lines, .* begins with b'a,b"):
        detect(path)
    with pytest.raises(InputError, match=r'unknown format "lava".*did you mean "llava"'):
        detect(path, "lava")


def test_every_turn_of_the_assistant_is_an_example_with_the_turns_before_it(tmp_path: Path) -> None:
    turns = ["<image>What?", "A cat.", "And <image>?", "A dog.", "Bye.", "Bye."]
    told = [{"from": ("human", "gpt")[n % 2], "value": text} for n, text in enumerate(turns)]
    system = {"from": "system", "value": "Be kind."}
    row = {"id": 7, "image": ["a.png", "b.png"], "conversations": [system, *told]}
    (item,) = read(write_json(tmp_path / "x.json", [row]))
    assert examples([item]) == [
        RawExample("7-1", ("a.png",), turns[0], turns[1], (turns[1],), (), "Be kind."),
        RawExample(
            "7-2",
            ("a.png", "b.png"),
            turns[2],
            turns[3],
            (turns[3],),
            ((turns[0], turns[1]),),
            "Be kind.",
        ),
        RawExample(
            "7-3",
            ("a.png", "b.png"),
            turns[4],
            turns[5],
            (turns[5],),
            ((turns[0], turns[1]), (turns[2], turns[3])),
            "Be kind.",
        ),
    ]


def test_parts_of_a_content_are_text_and_marks(tmp_path: Path) -> None:
    parts = [{"type": "image", "image": "a.png"}, {"type": "text", "text": "What?"}]
    row = {"messages": [{"role": "user", "content": parts}, {"role": "assistant", "content": "x"}]}
    (raw_example,) = examples(read(write_json(tmp_path / "x.json", [row])))
    assert (raw_example.images, raw_example.prompt) == (("a.png",), "<image>What?")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"conversations": []}, "the conversation has no turns"),
        ({"conversations": "hello"}, "the conversation has no turns"),
        ({"conversations": [5]}, "a turn is no object"),
        ({"conversations": llava(0)["conversations"][:1]}, "turns must be user, assistant, "),
        ({"conversations": [{"from": "tool", "value": "x"}]}, "a turn's role is not known"),
        ({"image": ["a.png", "b.png"]}, "number of <image> marks differs from images"),
        ({"image": None}, "number of <image> marks differs from images"),
        ({"image": 5}, "image is neither a path nor bytes"),
        ({"video": "a.mp4"}, "video is not supported"),
    ],
)
def test_a_broken_conversation_is_rejected(
    change: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    items = read(write_json(tmp_path / "x.json", [llava(0), llava(1) | change, llava(2)]), "llava")
    assert reasons(items)[0].startswith(reason)
    assert len(examples(items)) == 2


def test_empty_answers_are_rejected_wherever_they_are(tmp_path: Path) -> None:
    for row in (
        pairs(0) | {"answer": " "},
        pairs(0) | {"answer": None, "answers": ["a", ""]},
    ):
        assert reasons([one(tmp_path, row)]) == ["empty answer"]
    assert reasons([one(tmp_path, pairs(0) | {"answer": None})]) == ["no answer"]
    row = llava(0)
    row["conversations"][1]["value"] = ""
    assert reasons(read(write_json(tmp_path / "y.json", [row]))) == ["empty answer"]


def test_ids_become_texts_whether_they_are_numbers_texts_or_missing(tmp_path: Path) -> None:
    rows = [pairs(0) | {"id": 5}, pairs(1) | {"id": "x"}, pairs(2)]
    assert [r.id for r in examples(read(write_json(tmp_path / "x.json", rows)))] == [
        "5",
        "x",
        "row-2",
    ]


def test_an_image_may_be_a_text_a_list_or_nothing_and_marks_may_be_missing(tmp_path: Path) -> None:
    rows = [
        pairs(0) | {"image": "a.png"},
        pairs(0) | {"image": ["a.png"]},
        pairs(0) | {"image": ["a.png", {"path": "b.png", "bytes": None}]},
        pairs(0) | {"image": []},
        pairs(0) | {"image": ""},
        pairs(0) | {"image": None},
    ]
    found = [
        raw_example.images for raw_example in examples(read(write_json(tmp_path / "x.json", rows)))
    ]
    assert found == [("a.png",), ("a.png",), ("a.png", "b.png"), (), (), ()]


def test_base64_bytes_in_json_are_bytes(tmp_path: Path) -> None:
    image = {"bytes": base64.b64encode(png()).decode(), "path": "a.png"}
    (raw_example,) = examples([one(tmp_path, pairs(0) | {"image": image})])
    assert raw_example.images == (png(),)
    image = {"bytes": "no base64!"}
    assert reasons([one(tmp_path, pairs(0) | {"image": image})]) == ["image bytes are no base64"]


@pytest.mark.parametrize(
    ("answers", "answer", "several"),
    [
        (["a", "b", "b"], "b", ("a", "b", "b")),
        ([{"answer": "x", "answer_id": 1}, {"answer": "y"}], "x", ("x", "y")),
        ({"text": ["t"], "start": [3]}, "t", ("t",)),
        ([1, 2.5], "1", ("1", "2.5")),
    ],
)
def test_answers_may_be_lists_objects_or_in_the_form_of_squad(
    answers: Any, answer: str, several: tuple[str, ...], tmp_path: Path
) -> None:
    (raw_example,) = examples([one(tmp_path, {"question": "q", "answers": answers})])
    assert (raw_example.answer, raw_example.answers) == (answer, several)


@pytest.mark.parametrize("value", [float("nan"), True, {"a": 1}, "\ud800", "<image>"])
def test_a_value_that_cannot_be_an_answer_is_rejected(value: Any, tmp_path: Path) -> None:
    assert isinstance(one(tmp_path, pairs(0) | {"answer": value}), Rejected)


def test_a_number_among_choices_is_no_answer(tmp_path: Path) -> None:
    row = {"question": "q", "choices": ["a", "b"], "answer": 1}
    assert reasons([one(tmp_path, row)]) == ["answer is a number among choices"]


@pytest.mark.parametrize(
    ("box", "size", "answer"),
    [
        # CoIN's own are texts of shares, and stay: 0.4444 to three decimals.
        ("[0.1, 0.2, 0.5, 0.4444]", [640, 480], "[0.1,0.2,0.5,0.444]"),
        ([64, 48, 320, 240], [640, 480], "[0.1,0.1,0.5,0.5]"),
        ([64, 48, 320, 240], None, None),
        ([0.5, 0.2, 0.1, 0.4], [640, 480], None),
        ([64, 48, 3200, 240], [640, 480], None),
        ("left", [640, 480], None),
        ([0.1, 0.2], [640, 480], None),
    ],
)
def test_boxes_are_shares_of_the_picture(
    box: Any, size: Any, answer: str | None, tmp_path: Path
) -> None:
    row = {"question_id": 1, "image": "a", "text": "Where?", "answer_bbox": box, "size": size}
    items = read(write_json(tmp_path / "x.json", [row]))
    assert [raw_example.answer for raw_example in examples(items)] == ([answer] if answer else [])
    assert len(reasons(items)) == (answer is None)


def test_captions_of_an_image_are_one_example_and_every_caption_counts(tmp_path: Path) -> None:
    data = coco(2)
    data["annotations"] += [{"image_id": 9, "caption": "x"}, {"image_id": 0, "caption": " "}, 5]
    data["images"] += [{"id": 2, "file_name": "2.png"}, {"file_name": "3.png"}]
    items = read(write_json(tmp_path / "x.json", data))
    assert [raw_example.answers for raw_example in examples(items)] == [
        ("caption 0", "caption 1"),
        ("caption 2", "caption 3"),
    ]
    assert sorted(reasons(items)) == [
        "an image needs id and file_name",
        "empty caption",
        "image has no caption",
        "no image has the id that the caption names",
        "the row is no object",
    ]
    rows = [
        row for item in items for row in (item.rows if isinstance(item, Accepted) else [item.row])
    ]
    assert sorted(rows) == list(range(9))


def test_a_broken_line_or_end_of_a_file_rejects_only_that_part(tmp_path: Path) -> None:
    good = json.dumps(pairs(0)).encode()
    path = tmp_path / "x.json"
    path.write_bytes(good + b"\n{broken\n\n" + b'{"prompt": "\xff", "answer": 1}\n' + good)
    assert reasons(read(path)) == ["the line is no JSON", "prompt is no valid UTF-8"]
    path.write_bytes(b"[" + good + b",\n" + good[:-5])
    (accepted, rejected) = read(path)
    assert isinstance(accepted, Accepted)
    assert str(rejected).startswith("row 1: the file is no JSON from here on (line 2: ")
    path.write_bytes(b"[" + good + b"," + b"[" * 100_000)
    assert "nested too deeply" in str(read(path)[1])
    # What Python's json writes and other parsers refuse.
    path.write_bytes(b'[{"prompt": NaN, "answer": 1}, ' + good + b"]")
    assert reasons(read(path)) == ["no prompt"]


def test_a_cut_parquet_file_and_a_broken_text_in_one_are_rejected_rows(tmp_path: Path) -> None:
    text = pa.Array.from_buffers(
        pa.string(),
        2,
        [None, pa.array([0, 1, 3], pa.int32()).buffers()[1], pa.py_buffer(b"a\xff\xfe")],
    )
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"prompt": text, "answer": ["x", "y"]}), path)
    items = read(path, "table")
    assert (len(examples(items)), len(reasons(items))) == (1, 1)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="in no known format"):
        detect(path)


def test_a_list_larger_than_the_memory_allowed_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    filler = "x" * 2000
    with path.open("w") as file:
        file.write("[")
        for number in range(12_000):
            file.write(",\n" * bool(number) + json.dumps(pairs(number) | {"note": filler}))
        file.write("]")
    assert path.stat().st_size > 24e6
    tracemalloc.start()
    count = sum(isinstance(item, Accepted) for item in read_items(detect(path)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 12_000
    assert peak < 4e6


def only(row: dict[str, Any], tmp_path: Path) -> RawExample:
    """Return the one example of a file with this one row."""
    (item,) = read_items(detect(write_lines(tmp_path / "data.jsonl", [row])))
    assert isinstance(item, Accepted), item
    return item.examples[0]


def test_nothing_that_belongs_to_a_question_is_left_out(tmp_path: Path) -> None:
    alpaca = {"instruction": "Add them.", "input": "2 and 3", "output": "5"}
    assert only(alpaca, tmp_path).prompt == "Add them.\n2 and 3"
    choice = {"question": "Which?", "choices": ["a cat", "a dog"], "answer": "B"}
    assert only(choice, tmp_path).prompt == "Which?\nA. a cat\nB. a dog"
    written = {
        "question": "Which? (A) a cat (B) a dog",
        "options": ["a cat", "a dog"],
        "answer": "B",
    }
    assert only(written, tmp_path).prompt == written["question"]
    about = {"question": "Why?", "context": "It rained.", "answer": "rain"}
    assert only(about, tmp_path).prompt == "It rained.\nWhy?"
    turns = {"query": "and it?", "response": "a dog", "history": [["what is it?", "a cat"]]}
    assert only(turns, tmp_path).history == (("what is it?", "a cat"),)


def test_an_empty_image_column_hides_no_other_and_two_must_agree(tmp_path: Path) -> None:
    write_images(tmp_path, 2)
    row = {"prompt": "what?", "answer": "a", "image": "", "images": ["0.png"]}
    assert only(row, tmp_path).images == ("0.png",)
    assert only(row | {"image": "0.png"}, tmp_path).images == ("0.png",)
    (item,) = read_items(detect(write_lines(tmp_path / "data.jsonl", [row | {"image": "1.png"}])))
    assert isinstance(item, Rejected) and item.reason == "images under several names"
    nothing = {"prompt": "what?", "answer": "a", "image": {"bytes": None, "path": None}, "id": 1.0}
    assert (only(nothing, tmp_path).images, only(nothing, tmp_path).id) == ((), "1")


def test_an_answer_before_any_question_and_a_question_at_the_end_are_left_out(
    tmp_path: Path,
) -> None:
    turns = [("gpt", "hello"), ("human", "what?"), ("gpt", "a cat"), ("human", "sure?")]
    row = {"conversations": [{"from": who, "value": said} for who, said in turns]}
    raw_example = only(row, tmp_path)
    assert (raw_example.prompt, raw_example.answer, raw_example.history) == ("what?", "a cat", ())


def test_shares_rounded_beyond_the_edge_are_no_pixels(tmp_path: Path) -> None:
    row = {"question_id": 1, "text": "where?", "answer_bbox": [0, 0, 1.004, 1], "size": [100, 100]}
    assert only(row, tmp_path).answer == "[0,0,1,1]"
