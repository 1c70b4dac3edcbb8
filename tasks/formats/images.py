"""Bytes of referenced images: paths within one folder, `data:` URIs, bytes."""

from __future__ import annotations

import base64
import binascii
import os
import re
import stat
from pathlib import Path
from urllib.parse import unquote, unquote_to_bytes

from tasks.formats.image_hints import PathHints
from tasks.formats.raw_example import ImageReference, RowError, brief, printable

LARGEST = 1 << 28  # bytes of an encoded image


class ImageFolder:
    """Folder that images are read from; written paths must lie in it, and links in it are followed."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(os.path.abspath(folder))
        self._hints = PathHints(self.folder)
        self._last: tuple[str, Path] | None = None
        """The reference looked up last, and its path: a row's is asked for several times."""

    def read(self, reference: ImageReference) -> bytes:
        """Return the encoded image; raise `RowError` if it cannot be read."""
        if isinstance(reference, bytes):
            return reference
        if reference[:5].lower() == "data:":
            return _embedded(reference)
        path = self.path(reference)
        try:
            return _contents(path)
        except FileNotFoundError:
            hint = self._hints.hint(reference)
            raise RowError("image file is missing", f"{_quoted(str(path))}{hint}") from None

    def path(self, reference: str) -> Path:
        """Return the path of a reference; raise `RowError` if it lies outside the folder.

        A path that is not there as written is tried with %20 and backslashes decoded.
        """
        if self._last is None or self._last[0] != reference:
            self._last = reference, self._path(reference)
        return self._last[1]

    def _path(self, reference: str) -> Path:
        written = re.sub("^file:(//(localhost(?=/))?)?", "", reference, flags=re.IGNORECASE)
        if "://" in written:
            raise RowError("image is an address", f"{_quoted(reference)}: nothing is downloaded")
        paths = [Path(os.path.normpath(self.folder / one)) for one in _spellings(written)]
        inside = [path for path in paths if path.is_relative_to(self.folder)]
        if not inside:
            hint = self._hints.hint(reference)
            raise RowError("image lies outside the image folder", f"{_quoted(reference)}{hint}")
        if len(inside) > 1:
            return next((path for path in inside if os.path.isfile(path)), inside[0])
        return inside[0]


def _spellings(written: str) -> list[str]:
    """Return a path as it is written, then as an address or a system with backslashes would read it."""
    decoded = unquote(written) if "%" in written else written
    slashes = [one.replace("\\", "/") for one in (written, decoded)]
    return list(dict.fromkeys((written, decoded, *slashes)))


def is_path(reference: ImageReference) -> bool:
    """Return whether a reference is a path."""
    return isinstance(reference, str) and reference[:5].lower() != "data:"


def _quoted(path: str) -> str:
    return printable(repr(path))[:400]  # repr: a null byte must not reach the screen


def _embedded(uri: str) -> bytes:
    head, comma, body = uri.partition(",")
    if not comma:
        raise RowError("data: URI without data", brief(uri))
    try:
        if head.lower().endswith(";base64"):
            return base64.b64decode("".join(body.split()), validate=True)
        return unquote_to_bytes(body)
    except (binascii.Error, ValueError) as error:
        raise RowError("data: URI is no base64", str(error)) from error


def _contents(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # reading a pipe would block
            raise RowError("image is no file", _quoted(str(path)))
        if status.st_size > LARGEST:
            raise RowError("image file too large", f"{status.st_size} bytes, at most {LARGEST}")
        return path.read_bytes()
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise RowError("image file cannot be read", f"{_quoted(str(path))}: {reason}") from error
