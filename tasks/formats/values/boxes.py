"""Boxes as answers and in questions: shares of the picture, and ms-swift's `objects` filled in as such.

A box is written `[x1,y1,x2,y2]` in shares of the picture's width and height, with three decimals, or
more where they would leave it no area: LLaVA's form, and the one that the metric `grounding_accuracy`
reads.
"""

from __future__ import annotations

import dataclasses
import io
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from PIL import Image, UnidentifiedImageError

from tasks.formats.raw_example import ImageReference, PixelBox, RawExample, RowError, brief
from tasks.formats.values.noted_row import NotedRow, is_empty
from tasks.formats.values.texts import as_text

ROUNDED = 1.01
"""Largest share that counts as rounded beyond the picture's edge; a box in pixels is larger."""
_UNITS = {"norm1": 1.0, "norm_1": 1.0, "norm1000": 1000.0, "norm_1000": 1000.0}
_MARK = re.compile("\x00(\\d+)\x00")  # no text of a row holds a null character
_PLACES = re.compile(r"<ref-object>|<bbox>")
_ORIENTATION, _TURNED = 0x0112, (5, 6, 7, 8)


def box_text(box: Sequence[float]) -> str:
    """Write a box as an answer: `[0.1,0.25,0.5,0.9]`, with three decimals, or more for a tiny one."""
    x1, y1, x2, y2 = box
    places = 3
    while places < 9 and (
        round(x1, places) >= round(x2, places) or round(y1, places) >= round(y2, places)
    ):
        places += 1
    return "[" + ",".join(f"{round(side, places):.{places}g}" for side in box) + "]"


def checked_box(box: Sequence[float], what: str) -> list[float]:
    """Return a box of shares within the picture; raise `RowError` if it has no area or lies outside."""
    if 1 < max(box) <= ROUNDED:
        box = [min(side, 1.0) for side in box]
    if not (0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1):
        raise RowError(f"{what} must be x1 < x2 and y1 < y2 within the picture", brief(list(box)))
    return list(box)


def numbers(values: Any, count: int, reason: str, got: Any) -> list[float]:
    """Return `count` finite numbers; raise `RowError` with `reason` otherwise."""
    try:
        found = [float(value) for value in values]
    except (TypeError, ValueError, OverflowError):
        raise RowError(reason, brief(got)) from None
    if len(found) != count or not all(map(math.isfinite, found)):
        raise RowError(reason, brief(got))
    return found


class Objects:
    """ms-swift's `objects` of a row: names and boxes that stand in for marks in its texts, in turn."""

    def __init__(self, row: NotedRow, images: int) -> None:
        value = row.peek("objects")
        self.given, self.images = not is_empty(value), images
        self.boxes: list[PixelBox] = []
        """Boxes in pixels that were filled in so far."""
        self._row = row
        self._names: Iterator[Any] = iter(())
        self._sides: Iterator[tuple[Any, Any, Any]] = iter(())
        self._left = {"<ref-object>": 0, "<bbox>": 0}
        self._value = value

    def fill(self, texts: Sequence[str]) -> list[str]:
        """Return a row's texts with names and boxes in place of all marks."""
        marks = [mark for text in texts for mark in _PLACES.findall(text)]
        if not self.given or not marks:
            return list(texts)
        if any("\x00" in text for text in texts):  # it would be taken for a mark of a box
            raise RowError("control character", "a null character in a text")
        names, boxes = self._read()
        for mark, values in (("<ref-object>", names), ("<bbox>", boxes)):
            if marks.count(mark) not in (0, len(values)):
                count = f"{marks.count(mark)} and {len(values)}"
                raise RowError(f"number of {mark} marks differs from objects", count)
        self._names, self._sides = iter(names), iter(boxes)
        return [_PLACES.sub(self._filled, text) for text in texts]

    def _read(self) -> tuple[list[Any], list[tuple[Any, Any, Any]]]:
        """Return the names, and (box, unit, image) of each box."""
        value = self._row["objects"]
        if isinstance(value, str):
            value = _parsed(value)
        if isinstance(value, list | tuple):  # the older form: one object each
            if not all(isinstance(one, Mapping) for one in value):
                raise RowError("objects are in no known form", brief(value))
            names = [n for one in value if (n := one.get("caption", one.get("ref"))) is not None]
            each = [one for one in value if one.get("bbox") is not None]
            return names, [(o["bbox"], o.get("bbox_type"), o.get("image")) for o in each]
        if not isinstance(value, Mapping):
            raise RowError("objects are in no known form", brief(value))
        names, boxes = value.get("ref") or [], value.get("bbox") or []
        places = value.get("image_id") or [None] * len(boxes)
        lists = (names, boxes, places)
        if not all(isinstance(one, list | tuple) for one in lists) or len(places) != len(boxes):
            raise RowError("objects are in no known form", brief(value))
        unit = value.get("bbox_type")
        return list(names), [(box, unit, n) for box, n in zip(boxes, places, strict=True)]

    def _filled(self, mark: re.Match[str]) -> str:
        if mark[0] == "<ref-object>":
            return as_text(next(self._names), "name of an object")
        sides, unit, image = next(self._sides)
        box = numbers(sides, 4, "a box of objects is no list of four numbers", sides)
        if unit in _UNITS:
            return box_text(checked_box([side / _UNITS[unit] for side in box], "a box of objects"))
        if unit not in (None, "real"):
            raise RowError("bbox_type must be real, norm1 or norm1000", brief(unit))
        number = 0 if image is None and self.images == 1 else image
        if (
            not isinstance(number, int)
            or isinstance(number, bool)
            or number not in range(self.images)
        ):
            raise RowError("a box in pixels names no image of the row", brief(image))
        x1, y1, x2, y2 = box
        self.boxes.append(PixelBox(number, (x1, y1, x2, y2)))
        return f"\x00{len(self.boxes) - 1}\x00"


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RowError("objects are in no known form", brief(text)) from error


def without_marks(text: str) -> str:
    """Return a text without the marks of boxes in pixels."""
    return _MARK.sub("", text)


def with_boxes(example: RawExample, read: Callable[[ImageReference], bytes]) -> RawExample:
    """Return an example with its boxes in pixels written as shares of their images, as they are seen."""
    if not example.boxes:
        return example
    marks = {int(n) for text in example.texts() for n in _MARK.findall(text)}
    written = {}
    for number in sorted(marks):
        box = example.boxes[number]
        if box.image >= len(example.images):
            raise RowError("a box in pixels is of an image of a later turn", brief(box.image))
        width, height = _seen_size(read(example.images[box.image]))
        shares = [side / whole for side, whole in zip(box.sides, (width, height) * 2, strict=True)]
        written[number] = box_text(checked_box(shares, "a box of objects"))

    def filled(text: str) -> str:
        return _MARK.sub(lambda mark: written[int(mark[1])], text)

    return dataclasses.replace(
        example,
        prompt=filled(example.prompt),
        answer=filled(example.answer),
        answers=tuple(map(filled, example.answers)),
        history=tuple((filled(prompt), filled(answer)) for prompt, answer in example.history),
        system=filled(example.system),
        boxes=(),
    )


def _seen_size(data: bytes) -> tuple[int, int]:
    """Return width and height of an encoded image as a person sees it."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
            turned = image.getexif().get(_ORIENTATION) in _TURNED
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise RowError("image cannot be decoded", "its size is not known") from None
    return (height, width) if turned else (width, height)
