"""The folder of a converted task, which appears whole under a name made of its content."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import time
import uuid
from contextlib import suppress
from pathlib import Path

from spaces.errors import InputError
from tasks.data.manifest import MANIFEST, Manifest, check_shards
from tasks.user_data.raw_task import RawTask
from tasks.user_data.task_converter import TaskConverter

ABANDONED = 3600.0
"""Seconds without a write after which an unfinished conversion is deleted."""


def convert_task(task: RawTask, out: Path) -> tuple[Path, dict[str, tuple[int, int]]]:
    """Convert a task into a folder of its own in `out`, named after its content.

    Returns the folder, and (bytes, mtime_ns) of every image file that was read. Other data make
    another folder, so that shards which a running search has mapped stay as they are.
    """
    try:
        return _convert(task, out)
    except OSError as error:
        raise InputError(
            f"task {task.name} cannot be converted: {error.strerror or error}"
            f"{f', {error.filename}' if error.filename else ''}; free some space below {out}, or give "
            "another --storage that can be written"
        ) from error


def _convert(task: RawTask, out: Path) -> tuple[Path, dict[str, tuple[int, int]]]:
    out.mkdir(parents=True, exist_ok=True)
    _delete_abandoned(out)
    # Random, too: in containers, a killed process may have had this one's number and host.
    chance = uuid.uuid4().hex[:8]
    making = out / f".making-{socket.gethostname()}-{os.getpid()}-{chance}-{task.name}"
    making.mkdir()
    try:
        converter = TaskConverter(task, making)
        manifest = converter.run()
        folder = out / f"{task.name}-{_content_hash(manifest)}"
        _move(making, folder)
        return folder, converter.image_files
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _move(making: Path, folder: Path) -> None:
    """Give a finished folder its name; if the name is taken, complete the folder that has it."""
    try:
        making.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
        with suppress(InputError):
            check_shards(folder)
            return
        # Equal content by its name, but with an older manifest, or damaged. The manifest goes last.
        for file in sorted(making.iterdir(), key=lambda file: file.name == MANIFEST):
            os.replace(file, folder / file.name)


def _content_hash(manifest: Manifest) -> str:
    """Return a short hash of all that a conversion wrote and rejected."""
    values = manifest.to_values()
    shards = [[e["sha256"] for e in entries] for _, entries in sorted(values["shards"].items())]
    sources = [(entry["file"], entry["sha256"]) for entry in values["sources"]]
    rest = [values[name] for name in ("version", "settings", "rows", "reasons")]
    text = json.dumps([shards, rest, sources], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _delete_abandoned(out: Path) -> None:
    """Delete unfinished conversions to which nothing has been written for an hour.

    Only age decides: a container on the same storage may share this one's host and process numbers.
    """
    for left in out.glob(".making-*"):
        with suppress(OSError):  # its owner, or another process that cleans up, may be quicker
            newest = max(file.stat().st_mtime for file in (left, *left.iterdir()))
            if time.time() - newest > ABANDONED:
                shutil.rmtree(left, ignore_errors=True)
