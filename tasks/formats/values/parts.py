"""Content of a turn: a text, or a list of parts that are texts and images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasks.data.rows import IMAGE
from tasks.formats.raw_example import ImageReference, RowError, brief
from tasks.formats.values.image_cells import as_references
from tasks.formats.values.noted_row import NESTED, NotedRow, is_empty, is_missing, sole
from tasks.formats.values.texts import as_text, valid_utf8

_TEXT = ("text", "input_text", "output_text")
_IMAGE = ("image", "image_url", "input_image", "image_path")
_KEYS = ("image", "image_url", "url", "path", "image_path", "base64")


@dataclass(frozen=True)
class Content:
    """A turn's text with a mark for each image, and the images that stand in it."""

    text: str
    images: tuple[ImageReference | None, ...]
    """Image of each mark; None where the row's own images hold it."""


def content_of(turn: NotedRow, value: Any, images: tuple[ImageReference, ...] = ()) -> Content:
    """Return the content of a turn, which may have images of its own beside its text."""
    if isinstance(value, Mapping):
        value = [value]
    if isinstance(value, list | tuple):
        parts = [_part(turn, part) for part in value]
        content = Content("".join(p.text for p in parts), tuple(i for p in parts for i in p.images))
    elif is_missing(value):
        content = Content("", ())
    else:
        text = value if isinstance(value, str) else as_text(value, "content of a turn")
        content = _plain(text)
    return _with_own(content, images) if images else content


def _plain(text: str) -> Content:
    return Content(valid_utf8(text, "content of a turn"), (None,) * text.count(IMAGE))


def _with_own(content: Content, images: tuple[ImageReference, ...]) -> Content:
    """Return a turn's content with its own images at its marks, or in front if it has none."""
    if not content.images:
        return Content(IMAGE * len(images) + content.text, images)
    if any(image is not None for image in content.images) or len(content.images) != len(images):
        raise RowError("images of a turn differ from its marks", brief(content.text))
    return Content(content.text, images)


def _part(turn: NotedRow, given: Any) -> Content:
    """Return one part of a list of contents: a text, or a mark with its image."""
    if not isinstance(given, Mapping):
        raise RowError("a part of a turn is neither text nor image", brief(given))
    part = turn.inner(f"content{NESTED}", given)
    kind, text = part.get("type"), part.peek("text")
    image = sole(part, _KEYS, "image of a part", "image")
    if is_missing(kind):
        kind = "text" if is_empty(image) else "image"
    if kind not in (*_TEXT, *_IMAGE):
        raise RowError("a part of a turn is neither text nor image", brief(given))
    if not is_empty(image) and not is_empty(text):
        raise RowError("a part of a turn is both text and image", brief(given))
    if kind in _TEXT:
        if not is_empty(image) or is_missing(text):
            raise RowError("a part of a turn has no text", brief(given))
        part["text"]  # it has been read
        return _plain(text if isinstance(text, str) else as_text(text, "content of a turn"))
    references = as_references(image)
    if len(references) > 1:
        raise RowError("a part of a turn holds several images", brief(given))
    if not references and part.unread():
        raise RowError("an image of a turn is in no known form", ", ".join(part.unread())[:200])
    return Content(IMAGE, references or (None,))
