"""Bytes of referenced images: paths within one folder, `data:` URIs, bytes."""

from __future__ import annotations

import base64
import binascii
import os
import stat
from pathlib import Path
from urllib.parse import unquote_to_bytes

from tasks.formats.raw_example import ImageReference, RowError, brief, printable

LARGEST = 1 << 28  # bytes of an encoded image


class ImageFolder:
    """Folder that images are read from; written paths must lie in it, and links in it are followed."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(os.path.abspath(folder))

    def read(self, reference: ImageReference) -> bytes:
        """Return the encoded image; raise `RowError` if it cannot be read."""
        if isinstance(reference, bytes):
            return reference
        if reference[:5].lower() == "data:":
            return _embedded(reference)
        return _contents(self.path(reference))

    def path(self, reference: str) -> Path:
        """Return the path of a reference; raise `RowError` if it lies outside the folder."""
        if "://" in reference and not reference.startswith("file://"):
            raise RowError("image is an address", f"{_quoted(reference)}: nothing is downloaded")
        written = reference.removeprefix("file://")
        path = Path(os.path.normpath(self.folder / written))
        if not path.is_relative_to(self.folder):
            raise RowError("image lies outside the image folder", _quoted(reference))
        return path


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
        raise RowError("image file is missing", _quoted(str(path))) from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise RowError("image file cannot be read", f"{_quoted(str(path))}: {reason}") from error
