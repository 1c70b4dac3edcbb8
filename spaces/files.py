"""Atomic writes: a reader sees the old content or the new, never a part of it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from spaces.storage import check_storage

SPARE_DISK = 1.1
"""Factor by which free disk space must exceed a file that is about to be written."""

_UMASK = os.umask(0)
os.umask(_UMASK)


def give_usual_mode(path: str | Path) -> None:
    """Let others read a file as the user's umask says; some libraries write files for the owner alone."""
    os.chmod(path, 0o666 & ~_UMASK)


@contextlib.contextmanager
def replacing(path: str | Path, durable: bool = True, overwrite: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`, and move it to `path` when the block succeeds.

    The name is random, so that writers on several nodes of a shared file system cannot meet. If the
    block or the move fails, the temporary file is removed: on a full disk each try would leave one.
    `durable` syncs the content to disk first, so that a power cut leaves no empty file behind. Without
    `overwrite`, a file that another writer has put there meanwhile stays.
    """
    check_storage(path)
    folder, name = os.path.split(path)
    temporary = Path(folder, f".{name}.{uuid.uuid4().hex}")
    try:
        yield temporary
        give_usual_mode(temporary)
        if durable:
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
        if overwrite:
            os.replace(temporary, path)
        else:
            with contextlib.suppress(FileExistsError):
                os.link(temporary, path)
            temporary.unlink()
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def write_atomically(path: str | Path, content: str | bytes, durable: bool = True) -> None:
    """Write a whole file in one move, and make its folder; see `replacing`."""
    check_storage(path)  # before its folder is made
    data = content.encode() if isinstance(content, str) else content
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with replacing(path, durable) as temporary:
        temporary.write_bytes(data)


def file_sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fits_on_disk(folder: Path, size: float) -> bool:
    """Return True if `size` bytes fit into the file system of `folder`, with some to spare."""
    return size * SPARE_DISK <= shutil.disk_usage(folder).free
