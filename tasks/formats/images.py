"""Bytes of referenced images: paths within one folder, `data:` URIs, bytes."""

from __future__ import annotations

import base64
import binascii
import os
import re
import stat
from pathlib import Path
from urllib.parse import unquote, unquote_to_bytes

from spaces.secrets import masked
from tasks.formats.image_hints import PathHints
from tasks.formats.raw_example import ImageReference, RowError, brief, printable

LARGEST = 1 << 28  # bytes of an encoded image
_SCHEME = re.compile("^file:(//(localhost(?=/))?)?", re.IGNORECASE)


class ImageFolder:
    """Folder that images are read from; written paths must lie in it, and links in it are followed."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(os.path.abspath(folder))
        self._hints = PathHints(self.folder)
        self._root = str(self.folder)
        self._inside = os.path.join(self._root, "")

    def read(self, reference: ImageReference) -> bytes:
        """Return the encoded image; raise `RowError` if it cannot be read."""
        if isinstance(reference, bytes):
            return reference
        if reference[:5].lower() == "data:":
            return _embedded(reference)
        return self.contents(self.path(reference), reference)

    def contents(self, path: str, reference: str) -> bytes:
        """Return the file at the path of a reference; raise `RowError` if it cannot be read."""
        try:
            return _contents(path)
        except FileNotFoundError:
            hint = self._hints.hint(reference)
            raise RowError("image file is missing", f"{_quoted(path)}{hint}") from None

    def path(self, reference: str) -> str:
        """Return the path of a reference; raise `RowError` if it lies outside the folder.

        A path that is not there as written is tried with %20 and backslashes decoded.
        """
        written = _SCHEME.sub("", reference)
        if "://" in written:
            raise RowError("image is an address", f"{_quoted(reference)}: nothing is downloaded")
        paths = [os.path.normpath(os.path.join(self._root, one)) for one in _spellings(written)]
        inside = [one for one in paths if one == self._root or one.startswith(self._inside)]
        if not inside:
            hint = self._hints.hint(reference)
            raise RowError("image lies outside the image folder", f"{_quoted(reference)}{hint}")
        if len(inside) > 1:
            return next((path for path in inside if os.path.isfile(path)), inside[0])
        return inside[0]


def _spellings(written: str) -> list[str]:
    """Return a path as it is written, then as an address or a system with backslashes would read it."""
    if "%" not in written and "\\" not in written:
        return [written]
    decoded = unquote(written)
    slashes = [one.replace("\\", "/") for one in (written, decoded)]
    return list(dict.fromkeys((written, decoded, *slashes)))


def is_path(reference: ImageReference) -> bool:
    """Return whether a reference is a path."""
    return isinstance(reference, str) and reference[:5].lower() != "data:"


def _quoted(path: str) -> str:
    return printable(repr(masked(path)))[:400]  # repr: a null byte must not reach the screen


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


def _contents(path: str) -> bytes:
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # reading a pipe would block
            raise RowError("image is no file", _quoted(path))
        if status.st_size > LARGEST:
            raise RowError("image file too large", f"{status.st_size} bytes, at most {LARGEST}")
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise RowError("image file cannot be read", f"{_quoted(path)}: {reason}") from error
