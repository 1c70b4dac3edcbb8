"""Conversations of many frameworks: roles, flags, parts, images of turns, systems."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from raw import write_lines

from tasks.formats.detect import detect
from tasks.formats.raw_example import Accepted, Item, RawExample, Rejected
from tasks.formats.reader import read_items

LLAVA = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "square"}]
GOOD = {"image": "0.png", "conversations": LLAVA}
CHAT = [{"role": "user", "content": "What?"}, {"role": "assistant", "content": "square"}]


def read(row: dict[str, Any], tmp_path: Path) -> Item:
    """Read a row behind a good one of its kind."""
    first: dict[str, Any] = {"messages": CHAT} if "messages" in row else GOOD
    return list(read_items(detect(write_lines(tmp_path / "x.jsonl", [first, row]))))[1]


def examples(row: dict[str, Any], tmp_path: Path) -> tuple[RawExample, ...]:
    item = read(row, tmp_path)
    assert isinstance(item, Accepted), item
    return item.examples


def reason(row: dict[str, Any], tmp_path: Path) -> str:
    item = read(row, tmp_path)
    assert isinstance(item, Rejected), item
    return item.reason


def chat(*turns: tuple[str, Any], **keys: Any) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in turns], **keys}


@pytest.mark.parametrize(
    ("change", "images"),
    [
        ({"conversations": [{"from": "system", "value": ""}, *LLAVA]}, ("0.png",)),
        ({"image": ["0.png"]}, ("0.png",)),
        ({"image": ["0.png", None]}, ("0.png",)),
        ({"image": [["0.png"]]}, ("0.png",)),
        ({"conversations": json.dumps(LLAVA)}, ("0.png",)),
        ({"conversations": [*LLAVA, {"from": "human", "value": ""}]}, ("0.png",)),
        (
            {"conversations": [LLAVA[0], {"from": "GPT", "value": "square", "weight": 1}]},
            ("0.png",),
        ),
        ({"conversations": [LLAVA[0], LLAVA[1] | {"loss": True}]}, ("0.png",)),
        ({"conversations": [LLAVA[0] | {"loss": False}, LLAVA[1]]}, ("0.png",)),
        ({"weight": 1, "loss": None, "label": True, "tools": "[]", "videos": []}, ("0.png",)),
    ],
)
def test_rows_of_llava_in_many_forms_are_one_example(
    change: dict[str, Any], images: tuple[str, ...], tmp_path: Path
) -> None:
    (found,) = examples(GOOD | change, tmp_path)
    assert (found.images, found.prompt, found.answer) == (images, "<image>\nWhat?", "square")
    assert found.system == ""


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"conversations": [*LLAVA, LLAVA[1]]}, "two answers in a row"),
        ({"conversations": [LLAVA[0], {"from": "gpt", "value": None}]}, "no answer"),
        (
            {"conversations": [LLAVA[0], {"from": "gpt", "value": ["a", "b"]}]},
            "a part of a turn is",
        ),
        (
            {"conversations": [LLAVA[0], {"from": "observation", "value": "x"}]},
            "a turn's role is not",
        ),
        ({"conversations": [LLAVA[0], LLAVA[1] | {"weight": 0.5}]}, "weight must be 0 or 1"),
        (
            {"conversations": [LLAVA[0], LLAVA[1] | {"loss": False}]},
            "no answer of the row is to be",
        ),
        ({"conversations": [LLAVA[0] | {"loss": True}, LLAVA[1]]}, "only answers are trained"),
        (
            {"conversations": [LLAVA[0], LLAVA[1] | {"tool_calls": [1]}]},
            "tool_calls is not supported",
        ),
        ({"conversations": [*LLAVA, {"from": "system", "value": "x"}]}, "a system turn within the"),
        (
            {"conversations": [LLAVA[0] | {"content": "else"}, LLAVA[1]]},
            "content of a turn under sev",
        ),
        ({"weight": 0}, "the row must not be trained: its weight is 0"),
        ({"loss": "false"}, "the row must not be trained: its weight is 0"),
        ({"label": False}, "the row must not be trained as a good answer"),
        ({"kto_tag": False}, "the row must not be trained as a good answer"),
        ({"rejected_response": "x"}, "rejected_response is not supported: preferences"),
        ({"chosen": LLAVA[1], "rejected": LLAVA[1]}, "chosen is not supported: preferences"),
        ({"tools": "[{}, 1]"}, "tools is not supported"),
        ({"audios": ["a.wav"]}, "audios is not supported"),
    ],
)
def test_what_cannot_be_trained_refuses_the_row(
    change: dict[str, Any], why: str, tmp_path: Path
) -> None:
    assert reason(GOOD | change, tmp_path).startswith(why)


@pytest.mark.parametrize("flag", [{"weight": 0}, {"loss": False}, {"train": False}, {"loss": 0.0}])
def test_a_turn_of_no_weight_is_history_and_no_example(
    flag: dict[str, Any], tmp_path: Path
) -> None:
    turns = [*CHAT, {"role": "user", "content": "And?"}, {"role": "assistant", "content": "red"}]
    turns[1] = turns[1] | flag
    (found,) = examples({"messages": turns}, tmp_path)
    assert (found.prompt, found.answer, found.history) == ("And?", "red", (("What?", "square"),))


def test_rows_of_openai_are_read(tmp_path: Path) -> None:
    uri = "data:image/png;base64,AAAA"
    url = {"type": "image_url", "image_url": {"url": uri, "detail": "low"}}
    text = {"type": "text", "text": "What?"}
    answer = ("assistant", "square")
    for row, prompt, system in (
        (
            chat(("system", "Be short."), ("user", "What?"), ("user", [url]), answer),
            "What?\n<image>",
            1,
        ),
        (chat(("developer", "Be short."), ("user", [text, url]), answer), "What?<image>", 1),
        (chat(("user", [{"type": "input_text", "text": "What?"}, url]), answer), "What?<image>", 0),
        (
            chat(("user", [text | {"image": None}, {"type": "image", "image": uri}]), answer),
            "What?<image>",
            0,
        ),
        (chat(("user", [{"type": "image"}, text]), answer, images=[uri]), "<image>What?", 0),
        (chat(("user", [{"image": uri}, {"text": "What?"}]), answer), "<image>What?", 0),
        (
            chat(("user", [{"type": "input_image", "image_url": uri}, text]), answer),
            "<image>What?",
            0,
        ),
    ):
        (found,) = examples(row, tmp_path)
        assert (found.images, found.prompt, found.answer) == ((uri,), prompt, "square")
        assert found.system == "Be short." * system
    (found,) = examples({"messages": [CHAT[0] | {"images": [uri]}, CHAT[1]]}, tmp_path)
    assert (found.images, found.prompt) == ((uri,), "<image>What?")


def test_images_of_turns_and_of_the_row_fill_their_own_marks(tmp_path: Path) -> None:
    parts = [
        {"type": "image", "image": "a.png"},
        {"type": "image"},
        {"type": "text", "text": "Same?"},
    ]
    row = chat(("user", parts), ("assistant", "no"))
    assert examples(row | {"images": ["b.png"]}, tmp_path)[0].images == ("a.png", "b.png")
    assert reason(row | {"images": ["b.png", "c.png"]}, tmp_path).startswith(
        "marks without an image"
    )
    row = chat(("user", parts[::2]), ("assistant", "no"), images=["b.png"])
    assert reason(row, tmp_path).startswith("marks without an image of their own differ")


def test_two_system_texts_must_agree(tmp_path: Path) -> None:
    row = chat(("system", "A"), ("user", "q"), ("assistant", "a"))
    assert examples(row | {"system": "A"}, tmp_path)[0].system == "A"
    assert reason(row | {"system": "B"}, tmp_path) == "two system texts differ"


def test_a_question_among_conversations_is_read_and_said(tmp_path: Path) -> None:
    item = list(
        read_items(
            detect(write_lines(tmp_path / "x.jsonl", [GOOD, GOOD, {"query": "q", "response": "a"}]))
        )
    )[2]
    assert isinstance(item, Accepted)
    assert (item.examples[0].prompt, item.examples[0].answer) == ("q", "a")
    assert item.notes == ("rows without turns, read as a question and its answer",)
    assert reason({"messages": None, "query": "q"}, tmp_path) == "the row has no messages"


def test_what_is_left_out_of_a_conversation_is_said(tmp_path: Path) -> None:
    item = read(
        chat(("assistant", "hi"), ("user", "q"), ("assistant", "a"), ("user", "and?")), tmp_path
    )
    assert isinstance(item, Accepted)
    assert item.notes == (
        "an answer before the first question",
        "a last question without an answer",
    )
