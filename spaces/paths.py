"""Paths that users name: refused in one message where no file system could hold them."""

from __future__ import annotations

import os
from pathlib import Path

from spaces.errors import InputError, shown

MOST_NAME = 255
"""Bytes of a file's name on all usual file systems."""
MOST_PATH = 4095
"""Bytes of a path."""


def check_path(path: str | Path, what: str) -> None:
    """Raise `InputError`, which begins with `what`, if no file can have this path."""
    text = str(path)
    if not text:
        raise InputError(f"{what} must be a path, got an empty text")
    if "\0" in text:
        raise InputError(f"{what} must be a path, got one with a NUL character: {shown(text)}")
    try:
        data = os.fsencode(text)
    except UnicodeError:
        raise InputError(
            f"{what} must be a path of characters that can be written, got {shown(text)}"
        ) from None
    longest = max(map(len, data.split(b"/")))
    if longest > MOST_NAME or len(data) > MOST_PATH:
        raise InputError(
            f"{what} must be a path with names of at most {MOST_NAME} bytes, got one of {longest} "
            f"(the whole: {len(data)}): {shown(text)}"
        )


def user_path(text: str, what: str = "a file or folder") -> Path:
    """Return the path that a user names, with `~` replaced; raises `InputError` if none can be so."""
    check_path(text, what)
    try:
        return Path(text).expanduser()
    except RuntimeError:  # ~NAME of no user
        raise InputError(f"{what}: the user of {shown(text)} must exist on this machine") from None
