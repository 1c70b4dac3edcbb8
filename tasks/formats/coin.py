"""The test files of CoIN and UCIT: a question in `text`; for grounding a box instead of the answer.

    {"question_id": 1, "image": "1.jpg", "text": "What is it?", "answer": "cat"}
    {"question_id": 2, "image": "1.jpg", "text": "Where is the cat?",
     "answer_bbox": "[0.1, 0.2, 0.5, 0.9]", "size": [640, 480]}

A box is [x1, y1, x2, y2] in shares of the picture. CoIN's own, given as text, are shares of the picture
padded to a square, as in its training answers; they stay unchanged. A box with a number above 1 is in
pixels, and is divided by `size`, width and height.
"""

from __future__ import annotations

from typing import Any

from tasks.formats.fields import question, row_id
from tasks.formats.raw_example import RawExample, RowError, brief
from tasks.formats.values.boxes import ROUNDED, box_text, checked_box, numbers
from tasks.formats.values.flags import check_row_flags
from tasks.formats.values.image_cells import images_of
from tasks.formats.values.image_marks import check_marks, fill_marks
from tasks.formats.values.noted_row import NotedRow, Row, is_missing
from tasks.formats.values.texts import as_text

NAME = "coin"
TITLE = "CoIN/UCIT test: question_id, text, answer or answer_bbox"


def fits(row: Row) -> bool:
    """Return whether a row looks like one of this format."""
    return "question_id" in row and "text" in row and ("answer" in row or "answer_bbox" in row)


def examples(row: NotedRow, number: int) -> tuple[RawExample, ...]:
    """Return the one example of a row; raise `RowError` for a fault."""
    if is_missing(row.peek("answer_bbox")):
        return question(row, number)
    check_row_flags(row, conversation=False)
    prompts, images = fill_marks([as_text(row.get("text"), "prompt")], images_of(row))
    check_marks(images, prompts, [])
    answer = box_text(_box(row["answer_bbox"], row.get("size")))
    return (RawExample(row_id(row, number), images, prompts[0], answer, (answer,)),)


def _box(value: Any, size: Any) -> list[float]:
    sides = value.strip(" []()").split(",") if isinstance(value, str) else value
    box = numbers(sides, 4, "answer_bbox is no list of four numbers", value)
    if max(box) > ROUNDED:
        width, height = numbers(size, 2, "a box in pixels needs size: [width, height]", size)
        if min(width, height) <= 0:
            raise RowError("a box in pixels needs size: [width, height]", brief(size))
        box = [side / whole for side, whole in zip(box, (width, height) * 2, strict=True)]
    return checked_box(box, "answer_bbox")
