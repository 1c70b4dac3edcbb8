"""The bytes behind the references to images: paths within one folder, `data:` URIs, bytes."""

from __future__ import annotations

import base64
import binascii
import os
import stat
from pathlib import Path
from urllib.parse import unquote_to_bytes

from tasks.formats.record import Reference, Refused, printable, shown

LARGEST = 1 << 28  # bytes of an encoded image


class ImageFolder:
    """Reads images; a path must lie in the folder as it is written. Links in it are followed."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(os.path.abspath(folder))

    def read(self, reference: Reference) -> bytes:
        """The encoded image; raises `Refused`."""
        if isinstance(reference, bytes):
            return reference
        if reference[:5].lower() == "data:":
            return _embedded(reference)
        return _contents(self.path(reference))

    def path(self, reference: str) -> Path:
        """Where the file of a reference lies; raises `Refused` if that is outside the folder."""
        if "://" in reference and not reference.startswith("file://"):
            raise Refused("image is an address", f"{_quoted(reference)}: nothing is downloaded")
        written = reference.removeprefix("file://")
        path = Path(os.path.normpath(self.folder / written))
        if not path.is_relative_to(self.folder):
            raise Refused("image lies outside the image folder", _quoted(reference))
        return path


def is_file(reference: Reference) -> bool:
    """Whether a reference is a path."""
    return isinstance(reference, str) and reference[:5].lower() != "data:"


def _quoted(path: str) -> str:
    return printable(repr(path))[:400]  # repr: a null byte must not reach the screen


def _embedded(uri: str) -> bytes:
    head, comma, body = uri.partition(",")
    if not comma:
        raise Refused("data: URI without data", shown(uri))
    try:
        if head.lower().endswith(";base64"):
            return base64.b64decode("".join(body.split()), validate=True)
        return unquote_to_bytes(body)
    except (binascii.Error, ValueError) as error:
        raise Refused("data: URI is no base64", str(error)) from error


def _contents(path: Path) -> bytes:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):  # a pipe would be waited for
            raise Refused("image is no file", _quoted(str(path)))
        if found.st_size > LARGEST:
            raise Refused("image file too large", f"{found.st_size} bytes, at most {LARGEST}")
        return path.read_bytes()
    except FileNotFoundError:
        raise Refused("image file is missing", _quoted(str(path))) from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise Refused("image file cannot be read", f"{_quoted(str(path))}: {reason}") from error
