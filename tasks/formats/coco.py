"""COCO's captions: an object with a list of images and a list of captions that name them.

    {"images": [{"id": 9, "file_name": "9.jpg"}], "annotations": [{"image_id": 9, "caption": "A cat."}]}

All captions of an image make one example. The text of the file is held in memory, its images never.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tasks.formats.fields import as_references, check_marks, first, text
from tasks.formats.record import Accepted, Item, Record, Reference, Refused, Rejected, shown
from tasks.formats.source import CAPTIONS, Source, Told, Unreadable, ignore

NAME = "coco"
TITLE = "COCO captions: an object with images and annotations {image_id, caption}"
PROMPT = "A short image description."
"""InstructBLIP's prompt for captions (Dai et al. 2023, appendix E); `prompt:` of a task replaces it."""


def fits_keys(keys: tuple[str, ...]) -> bool:
    """Whether an object with lists under these keys is of this format."""
    return set(keys) >= CAPTIONS


def items(source: Source, told: Told = ignore) -> Iterator[Item]:
    """One example an image. Rows are the captions, then the images that are broken or have none."""
    images, broken = _images(source)
    grouped: dict[str, tuple[list[int], list[str]]] = {}
    row = -1
    for row, annotation in enumerate(source.listed("annotations", told)):
        try:
            name, caption = _caption(annotation, images)
        except Refused as refused:
            yield Rejected(row, _name(annotation, "image_id"), refused.reason, refused.detail)
            continue
        rows, captions = grouped.setdefault(name, ([], []))
        rows.append(row)
        captions.append(caption)
    for name, (rows, captions) in grouped.items():
        record = Record(name, images[name], PROMPT, captions[0], tuple(captions))
        yield Accepted(tuple(rows), (record,))
    broken += [(name, "image has no caption", "") for name in images if name not in grouped]
    for number, (name, reason, detail) in enumerate(broken, start=row + 1):
        yield Rejected(number, name, reason, detail)


def _images(source: Source) -> tuple[dict[str, tuple[Reference, ...]], list[tuple[str, str, str]]]:
    """Files by id, and (id, reason, detail) of the entries that name none."""
    found: dict[str, tuple[Reference, ...]] = {}
    broken = []
    for entry in source.listed("images"):
        name = _name(entry, "id")
        try:
            reference = as_references(first(_object(entry), ("file_name", "filename", "path")))
            if not name or not reference:
                raise Refused("an image needs id and file_name", shown(entry))
            if found.setdefault(name, reference) != reference:
                raise Refused("two images have one id", shown(entry))
        except Refused as refused:
            broken.append((name, refused.reason, refused.detail))
    return found, broken


def _caption(annotation: Any, images: Mapping[str, Any]) -> tuple[str, str]:
    name = _name(_object(annotation), "image_id")
    if name not in images:
        raise Refused("no image has the id that the caption names", shown(annotation))
    caption = text(annotation.get("caption"), "caption")
    check_marks((), (), [caption])
    return name, caption


def _object(value: Any) -> Mapping[str, Any]:
    if isinstance(value, Unreadable):
        raise Refused(value.reason, value.detail)
    if not isinstance(value, Mapping):
        raise Refused("the row is no object", shown(value))
    return value


def _name(value: Any, key: str) -> str:
    found = value.get(key) if isinstance(value, Mapping) else None
    good = isinstance(found, int | str) and not isinstance(found, bool)
    return str(found).encode("utf-8", "replace").decode() if good else ""
