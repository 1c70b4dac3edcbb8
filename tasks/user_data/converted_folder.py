"""Raw data -> a folder of shards. Nothing is half made: the folder appears whole, under its own name."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tasks.data.shards import MANIFEST
from tasks.user_data.raw_files import RawTask
from tasks.user_data.task_converter import Conversion

ABANDONED = 3600.0
"""Seconds without a write after which an unfinished conversion is nobody's."""


def convert_task(task: RawTask, out: Path) -> tuple[Path, dict[str, tuple[int, int]]]:
    """Convert a task into a folder of its own in `out`, named for what is in it.

    Returns the folder, and size and time of every image file that was read. No folder ever changes:
    other data make another one, and what a running search has mapped stays as it was.
    """
    out.mkdir(parents=True, exist_ok=True)
    _sweep(out)
    # By chance, too: in containers, a process that was killed had this one's number and host.
    chance = uuid.uuid4().hex[:8]
    making = out / f".making-{socket.gethostname()}-{os.getpid()}-{chance}-{task.name}"
    making.mkdir()
    try:
        conversion = Conversion(task, making)
        manifest = conversion.run()
        folder = out / f"{task.name}-{_content(manifest)}"
        try:
            making.rename(folder)
        except OSError:
            if not (folder / MANIFEST).is_file():
                raise
        return folder, conversion.image_files
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _content(manifest: Mapping[str, Any]) -> str:
    """A short hash of what a conversion made and rejected."""
    shards = [[e["sha256"] for e in entries] for _, entries in sorted(manifest["shards"].items())]
    sources = [(entry["file"], entry["sha256"]) for entry in manifest["sources"]]
    rest = [manifest[name] for name in ("version", "settings", "rows", "reasons")]
    text = json.dumps([shards, rest, sources], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _sweep(out: Path) -> None:
    """Take away what was left unfinished, once nothing has been written to it for an hour.

    By its age, for another container on the same storage may have this one's host and process numbers.
    """
    for left in out.glob(".making-*"):
        with suppress(OSError):  # its owner, or another that sweeps, is quicker
            newest = max(file.stat().st_mtime for file in (left, *left.iterdir()))
            if time.time() - newest > ABANDONED:
                shutil.rmtree(left, ignore_errors=True)
