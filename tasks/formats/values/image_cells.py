"""References to images in a row: under one of many names, or under numbered ones."""

from __future__ import annotations

import base64
import binascii
import os.path
import re
from collections.abc import Mapping
from typing import Any

from tasks.formats.images import is_path
from tasks.formats.raw_example import ImageReference, RowError, brief
from tasks.formats.values.noted_row import (
    NotedRow,
    first_value,
    is_empty,
    is_missing,
    several_names,
)
from tasks.formats.values.texts import valid_utf8

IMAGES = (
    *("image", "images", "img", "picture", "image_path", "image_file", "file_name", "image_paths"),
    *("imgs", "pictures", "img_path", "filename", "image_url", "image_urls", "photo"),
)
PATHS = ("path", "url", "image_url", "image", "image_path", "file_name", "filename")
"""Keys of the path in an image that is an object."""
_BY_ID = re.compile(r"(?:image|img|picture|photo)_?id", re.IGNORECASE)
_ENCODED = re.compile(r"(?:iVBORw0KGgo|/9j/|R0lGOD|UklGR|Qk0)[A-Za-z0-9+/\s]{80,}={0,2}\s*\Z")
"""PNG, JPEG, GIF, WebP or BMP in base64 without the head of a `data:` URI, as in tables of tests."""
_NUMBERED = re.compile(r"(?:image|img|picture)_?(\d{1,2})", re.IGNORECASE)
_FILE = re.compile(r"\.(?:png|jpe?g|jfif|gif|bmp|webp|tiff?|heic|avif)\Z", re.IGNORECASE)


def images_of(row: NotedRow) -> tuple[ImageReference, ...]:
    """Return the references to a row's images, under any of the known names.

    An image itself wins over names of files, these over addresses, and equal names are one.
    """
    given = {name: as_references(value) for name, value in row.present(IMAGES).items()}
    numbered = _numbered(row)
    given |= {", ".join(numbered): tuple(numbered.values())} if numbered else {}
    given = {name: references for name, references in given.items() if references}
    held = {name: one for name, one in given.items() if not any(map(is_path, one))}
    local = {name: one for name, one in given.items() if not any(map(_is_address, one))}
    meant = held or local or given
    if len({tuple(map(_normal, one)) for one in meant.values()}) > 1:
        raise several_names("images", list(meant), "image")
    for name in meant:
        for key in name.split(", "):
            row[key]  # it has been read
    if not meant:
        _refuse_overlooked(row)
    return next(iter(meant.values()), ())


def _numbered(row: NotedRow) -> dict[str, ImageReference]:
    """Return the image of each of `image_1`, `image_2`, ... that has one, in their order."""
    keys = [key for key in row if key[-1:].isdigit()]
    found = {key: match for key in keys if (match := _NUMBERED.fullmatch(key))}
    cells: dict[str, ImageReference] = {}
    for key in sorted(found, key=lambda one: int(found[one][1])):
        references = as_references(row.peek(key))
        if len(references) > 1:
            raise RowError("several images under a numbered name", key)
        if references:
            cells[key] = references[0]
    return cells


def _is_address(reference: ImageReference) -> bool:
    return isinstance(reference, str) and reference.startswith(("http://", "https://"))


def _normal(reference: ImageReference) -> ImageReference:
    if not isinstance(reference, str) or not is_path(reference) or "://" in reference:
        return reference
    return os.path.normpath(reference)


def _refuse_overlooked(row: NotedRow) -> None:
    """Raise `RowError` for a row without images that names one by its id or under an unknown key."""
    named = any(name in row for name in IMAGES)  # it says by itself that there is none
    for key in row.unread():
        if _BY_ID.fullmatch(key) and not named:
            raise RowError(
                "an image by its id alone",
                f"{key}: write the file's name under image; columns: {{ignore: [{key}]}} leaves it out",
            )
        if _looks_like_image(row.peek(key)):
            raise RowError(
                "an image under a key that is not known",
                f"{key}: columns: {{image: {key}}} would take it, columns: {{ignore: [{key}]}} not",
            )


def _looks_like_image(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return bool(value) and _looks_like_image(value[0])
    if isinstance(value, Mapping):
        return isinstance(value.get("bytes"), bytes)
    if isinstance(value, bytes):
        return True
    if not isinstance(value, str) or "\n" in value or (len(value) > 1000 and value[:5] != "data:"):
        return False
    return value.startswith("data:image/") or bool(_FILE.search(value) and " " not in value.strip())


def as_references(value: Any) -> tuple[ImageReference, ...]:
    """Return the references in a value: a path, `data:` URI, bytes, {bytes, path}, or a list of them."""
    if is_empty(value):
        return ()
    if isinstance(value, str) and value.lstrip().startswith(("[", "{")):
        raise RowError(
            "image is a text that looks like JSON", f"{brief(value)}: write the list itself"
        )
    if isinstance(value, list | tuple):
        if len(value) == 1 and isinstance(value[0], list | tuple):
            value = value[0]
        return tuple(_reference(one) for one in value if not is_empty(one))
    return (_reference(value),)


def _reference(value: Any) -> ImageReference:
    if isinstance(value, Mapping):
        data, path = value.get("bytes"), first_value(value, PATHS)
        if isinstance(path, Mapping):  # {"image_url": {"url": ...}}
            path = first_value(path, PATHS)
        if isinstance(data, str) and data:
            return _decoded(data)
        given, value = value, path if is_missing(data) or data in ("", b"") else data
    else:
        given = value
    if isinstance(value, str) and _ENCODED.match(value):
        return _decoded("".join(value.split()))
    if isinstance(value, str) and value.strip():
        return valid_utf8(value, "image")
    if isinstance(value, bytes) and value:
        return value
    raise RowError("image is neither a path nor bytes", brief(given))


def _decoded(data: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RowError("image bytes are no base64", str(error)) from error
