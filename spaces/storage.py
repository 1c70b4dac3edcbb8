"""The marker of a storage, without which nothing is written below it.

A network folder that is unmounted leaves an empty folder behind. Without a marker, a search would make
its storage anew there, and train into it.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import Path

from spaces.errors import first_line

MARKER = ".storage-id"
"""File at a storage's root that holds its random id."""
_GUARDED: dict[str, str] = {}
"""Ids of the storages that this process writes to, by their resolved roots."""


class StorageGoneError(OSError):
    """A storage that is no longer the one that the search began on."""


def mark_storage(root: Path) -> str:
    """Return the id of a storage, made if it is new, and guard the storage in this process."""
    root = root.resolve()
    root.mkdir(parents=True, exist_ok=True)
    marker = root / MARKER
    with contextlib.suppress(FileExistsError):  # another search may mark it at this moment
        _publish(marker, uuid.uuid4().hex)
    guard_storage(root, _read(marker))
    return _GUARDED[str(root)]


def guard_storage(root: Path, storage_id: str) -> None:
    """Have `check_storage` refuse paths below `root` unless its marker holds `storage_id`."""
    _GUARDED[str(root.resolve())] = storage_id


def release_storage(root: Path) -> None:
    """Guard a storage no longer."""
    _GUARDED.pop(str(root.resolve()), None)


def check_storage(path: str | Path) -> None:
    """Raise `StorageGoneError` if `path` lies in a guarded storage whose marker is not there."""
    if not _GUARDED:
        return
    text = os.path.abspath(path)
    for root, storage_id in _GUARDED.items():
        if (text == root or text.startswith(root + os.sep)) and not is_there(root, storage_id):
            raise StorageGoneError(
                f'the storage "{root}" is not the one that the search began on: its {MARKER} is '
                "missing or another (was it unmounted?), and nothing is written there"
            )


def is_there(root: str | Path, storage_id: str) -> bool:
    """Return whether a storage's marker holds `storage_id`."""
    try:
        return _read(Path(root, MARKER)) == storage_id
    except OSError:
        return False


def try_folder(folder: Path) -> str:
    """Return why nothing can be written to `folder`, which need not exist; empty if it can.

    The write is tried, for permissions do not say all: some file systems refuse it all the same.
    """
    there = folder.resolve()
    while not there.exists() and there != there.parent:
        there = there.parent
    trial = there / f".{uuid.uuid4().hex}"
    try:
        trial.mkdir()
        try:
            (trial / "file").write_bytes(b"written to see whether it can be")
        finally:
            (trial / "file").unlink(missing_ok=True)
            trial.rmdir()
    except OSError as error:
        return error.strerror or first_line(error)
    return ""


def _publish(marker: Path, content: str) -> None:
    """Write a marker in one move, unless one is there."""
    temporary = marker.with_name(f"{MARKER}.{content}")
    try:
        temporary.write_text(content)
        try:
            os.link(temporary, marker)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            if not marker.exists():
                os.replace(temporary, marker)
    finally:
        temporary.unlink(missing_ok=True)


def _read(marker: Path) -> str:
    return marker.read_bytes().decode(errors="replace")
