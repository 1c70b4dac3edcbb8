"""Rows whose meaning other tools get wrong."""

from __future__ import annotations

import base64
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import ExifTags, Image

from tests.faults.case import Case, png, rows


def turned(folder: Path) -> None:
    """Write a phone's JPEG, whose pixels lie on their side."""
    picture = Image.new("RGB", (48, 32), "red")
    exif = picture.getexif()
    exif[ExifTags.Base.Orientation] = 6
    picture.save(folder / "phone.jpg", exif=exif)
    rows(question(image="phone.jpg"), pictures=0)(folder)


DATA_URI = "data:image/png;base64," + base64.b64encode(png()).decode()


def parquet(columns: dict[str, list[object]], name: str = "train.parquet"):
    def write(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), folder / name)

    return write


def question(**changes: object) -> dict[str, object]:
    return {"image": "0.png", "question": "Which is it?", "answer": "A"} | changes


def turns(*values: tuple[str, object], **changes: object) -> dict[str, object]:
    said = [{"from": who, "value": value} for who, value in values]
    return {"image": "0.png", "conversations": said} | changes


PICTURE = {"bytes": png(), "path": None}
GROUNDING = {
    "messages": [
        {"role": "user", "content": "<image>Where is <ref-object>?"},
        {"role": "assistant", "content": "<bbox>"},
    ],
    "images": ["0.png"],
    "objects": {"ref": ["the red part"], "bbox": [[2, 3, 20, 30]]},
}

CASES = [
    Case(
        "options_substring",
        rows(
            question(question="How many are in picture 12 of 30?", options=["1", "2", "3"]),
            question(question="Is the pattern regular?", options=["at", "re"]),
        ),
        0,
        (r"A\. 1", r"C\. 3", r"A\. at", r"B\. re"),
    ),
    Case(
        "swift_objects_grounding",
        rows(GROUNDING),
        0,
        ("the red part",),
        (r"<bbox>", r"<ref-object>"),
    ),
    Case(
        "parquet_float_answer",
        parquet(
            {"image": [PICTURE] * 3, "question": ["How many?"] * 3, "answer": [3.0, None, 4.0]}
        ),
        1,
        (r"\b3\b", r"\b4\b"),
        (r"3\.0", r"4\.0"),
        data="train.parquet",
    ),
    Case(
        "answers_neighbours",
        rows(
            question(id="whole", answer=3.0),
            question(id="list", answers=[3, 3.0, "3"], answer=None),
            question(id="sure", answer=None, answers=[{"answer": "a", "answer_confidence": "yes"}]),
            question(id="none", answer=None, answers=[]),
        ),
        1,
        ("1 rejected",),
        (r"3\.0",),
    ),
    Case(
        "exif_rotated",
        turned,
        0,
        (r"width: 32 .* height: 48",),
    ),
    Case(
        "image_and_file_name",
        parquet(
            {
                "image": [{"bytes": png(), "path": "0.png"}] * 2,
                "file_name": ["0.png"] * 2,
                "question": ["Which?"] * 2,
                "answer": ["red"] * 2,
            }
        ),
        0,
        ("2 accepted, 0 rejected",),
        data="train.parquet",
    ),
    Case(
        "llava_turns",
        rows(
            turns(("system", ""), ("human", "<image>\nWhat?"), ("gpt", "square")),
            turns(("human", "<image>\nWhat?"), ("gpt", "round"), weight=0),
            turns(("human", "<image>\nWhat?"), ("gpt", None)),
        ),
        1,
        ("square",),
    ),
    Case(
        "nan_image_text_rows",
        rows(
            question(),
            question(image=float("nan"), question="2+2?", answer="4"),
            question(answer=float("nan")),
        ),
        1,
        ("2 accepted, 1 rejected",),
        (r"\bnan\b",),
    ),
    Case(
        "openai_messages",
        rows(
            {
                "messages": [
                    {"role": "developer", "content": "Be short."},
                    {"role": "user", "content": "Look."},
                    {
                        "role": "user",
                        "content": [{"type": "image_url", "image_url": {"url": DATA_URI}}],
                    },
                    {"role": "assistant", "content": "A square."},
                ]
            },
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "input_text", "text": "What is it?"},
                            {"type": "input_image", "image_url": DATA_URI},
                        ],
                    },
                    {"role": "assistant", "content": "A circle."},
                ]
            },
        ),
        0,
        ("2 accepted, 0 rejected", "Be short", "A circle"),
    ),
    Case(
        "scienceqa_hf",
        parquet(
            {
                "image": [PICTURE, None],
                "question": ["What is it?", "Which is larger?"],
                "choices": [["square", "circle"], ["ant", "whale"]],
                "answer": [0, 1],
                "hint": ["", "Think."],
                "lecture": ["", ""],
            }
        ),
        0,
        ("2 accepted, 0 rejected", r"B\. whale"),
        data="train.parquet",
    ),
    Case(
        "text_oddities",
        rows(
            question(id="nul", answer="squ\0are"),
            question(id="end", answer="square<|im_end|>"),
            question(id="wide", answer="\u200b"),
            question(id="place", question="<ImageHere>What is it?"),
            question(id="good"),
        ),
        1,
        ("2 accepted, 3 rejected",),
        ("ImageHere",),
    ),
]
