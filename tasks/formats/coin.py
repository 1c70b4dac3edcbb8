"""The test files of CoIN and UCIT: a question in `text`; for grounding a box instead of the answer.

    {"question_id": 1, "image": "1.jpg", "text": "What is it?", "answer": "cat"}
    {"question_id": 2, "image": "1.jpg", "text": "Where is the cat?",
     "answer_bbox": "[0.1, 0.2, 0.5, 0.9]", "size": [640, 480]}

A box is [x1, y1, x2, y2] in shares of the picture. CoIN's own, given as text, are shares of the picture
padded to a square, as in its training answers; they stay unchanged. A box with a number above 1 is in
pixels, and is divided by `size`, width and height.
"""

from __future__ import annotations

import math
from typing import Any

from tasks.formats.fields import Row, as_text, check_marks, images_of, question, row_id
from tasks.formats.raw_example import RawExample, RowError, brief

NAME = "coin"
TITLE = "CoIN/UCIT test: question_id, text, answer or answer_bbox"


def fits(row: Row) -> bool:
    """Return whether a row looks like one of this format."""
    return "question_id" in row and "text" in row and ("answer" in row or "answer_bbox" in row)


def examples(row: Row, number: int) -> tuple[RawExample, ...]:
    """Return the one example of a row; raise `RowError` for a fault."""
    if row.get("answer_bbox") is None:
        return question(row, number)
    images, prompt = images_of(row), as_text(row.get("text"), "prompt")
    check_marks(images, [prompt], [])
    answer = box_text(_box(row["answer_bbox"], row.get("size")))
    return (RawExample(row_id(row, number), images, prompt, answer, (answer,)),)


def box_text(box: list[float]) -> str:
    """Write a box as an answer: `[0.1,0.25,0.5,0.9]`, with three decimals at the most."""
    return "[" + ",".join(f"{round(side, 3):g}" for side in box) + "]"


ROUNDED = 1.01
"""Largest share that counts as rounded beyond the picture's edge; a box in pixels is larger."""


def _box(value: Any, size: Any) -> list[float]:
    sides = value.strip(" []()").split(",") if isinstance(value, str) else value
    box = _numbers(sides, 4, "answer_bbox is no list of four numbers", value)
    if 1 < max(box) <= ROUNDED:
        box = [min(side, 1.0) for side in box]
    if max(box) > 1:
        width, height = _numbers(size, 2, "a box in pixels needs size: [width, height]", size)
        if min(width, height) <= 0:
            raise RowError("a box in pixels needs size: [width, height]", brief(size))
        box = [side / whole for side, whole in zip(box, (width, height) * 2, strict=True)]
    if not (0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1):
        raise RowError("answer_bbox must be x1 < x2 and y1 < y2 within the picture", brief(value))
    return box


def _numbers(values: Any, count: int, reason: str, got: Any) -> list[float]:
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError, OverflowError):
        raise RowError(reason, brief(got)) from None
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise RowError(reason, brief(got))
    return numbers
