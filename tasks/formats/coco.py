"""COCO's captions: an object with a list of images and a list of captions with image ids.

    {"images": [{"id": 9, "file_name": "9.jpg"}], "annotations": [{"image_id": 9, "caption": "A cat."}]}

All captions of an image make one example. Texts of the file are held in memory, images are not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tasks.formats.containers.json_text import Unreadable
from tasks.formats.containers.source import CAPTIONS, ReportShare, Source, no_report
from tasks.formats.fields import CAPTION_PROMPT
from tasks.formats.raw_example import (
    Accepted,
    ImageReference,
    Item,
    RawExample,
    Rejected,
    RowError,
    brief,
)
from tasks.formats.values.flags import check_row_flags
from tasks.formats.values.image_cells import as_references
from tasks.formats.values.image_marks import check_marks
from tasks.formats.values.noted_row import NotedRow, first_value
from tasks.formats.values.texts import as_text
from tasks.formats.values.tokens import check_tokens

NAME = "coco"
TITLE = "COCO captions: an object with images and annotations {image_id, caption}"


def fits_keys(keys: tuple[str, ...]) -> bool:
    """Return whether an object with lists under these keys is of this format."""
    return set(keys) >= CAPTIONS


def items(source: Source, report: ReportShare = no_report) -> Iterator[Item]:
    """Yield one example for each image; rows are captions, then images that are broken or have none."""
    images, broken = _images(source)
    grouped: dict[str, tuple[list[int], list[str], dict[str, None]]] = {}
    row = -1
    for row, annotation in enumerate(source.listed("annotations", report)):
        try:
            name, caption, notes = _caption(annotation, images)
        except RowError as refused:
            yield Rejected(row, _name(annotation, "image_id"), refused.reason, refused.detail)
            continue
        rows, captions, said = grouped.setdefault(name, ([], [], {}))
        rows.append(row)
        captions.append(caption)
        said |= dict.fromkeys(notes)
    for name, (rows, captions, said) in grouped.items():
        example = RawExample(name, images[name], CAPTION_PROMPT, captions[0], tuple(captions))
        yield Accepted(tuple(rows), (example,), tuple(said))
    broken += [(name, "image has no caption", "") for name in images if name not in grouped]
    for number, (name, reason, detail) in enumerate(broken, start=row + 1):
        yield Rejected(number, name, reason, detail)


def _images(
    source: Source,
) -> tuple[dict[str, tuple[ImageReference, ...]], list[tuple[str, str, str]]]:
    """Return image files by id, and (id, reason, detail) of the entries without one."""
    files: dict[str, tuple[ImageReference, ...]] = {}
    broken = []
    for entry in source.listed("images"):
        name = _name(entry, "id")
        try:
            reference = as_references(
                first_value(_object(entry), ("file_name", "filename", "path"))
            )
            if not name or not reference:
                raise RowError("an image needs id and file_name", brief(entry))
            if files.setdefault(name, reference) != reference:
                raise RowError("two images have one id", brief(entry))
        except RowError as refused:
            broken.append((name, refused.reason, refused.detail))
    return files, broken


def _caption(annotation: Any, images: Mapping[str, Any]) -> tuple[str, str, tuple[str, ...]]:
    """Return the image's id, the caption, and what is said of it."""
    note = NotedRow(_object(annotation), "annotations[].")
    name = _name(note, "image_id")
    if name not in images:
        raise RowError("no image has the id that the caption names", brief(annotation))
    check_row_flags(note, conversation=False)
    caption = as_text(note.get("caption"), "caption")
    check_marks((), (), [caption])
    note.get("id")  # of the caption itself
    said = check_tokens([caption])
    return name, caption, (*note.notes(), *said)


def _object(value: Any) -> Mapping[str, Any]:
    if isinstance(value, Unreadable):
        raise RowError(value.reason, value.detail)
    if not isinstance(value, Mapping):
        raise RowError("the row is no object", brief(value))
    return value


def _name(value: Any, key: str) -> str:
    files = value.get(key) if isinstance(value, Mapping) else None
    usable = isinstance(files, int | str) and not isinstance(files, bool)
    return str(files).encode("utf-8", "replace").decode() if usable else ""
