"""Damaged files of a storage: set aside under another name, and noted in a log."""

from __future__ import annotations

import contextlib
import logging
import time
from pathlib import Path

from spaces.files import set_aside

logger = logging.getLogger(__name__)
LOG = "damaged.log"
"""File in a store's folder with a line for each file that was set aside."""


def put_aside(root: Path, path: str | Path, why: str) -> bool:
    """Set a damaged file of the store `root` aside, and note it in the store's log.

    Returns False if nothing was renamed: another process was quicker, or the store is read-only.
    """
    aside = set_aside(path)
    if aside is None:
        return False
    logger.warning("%s is damaged and was set aside: %s", path, why)
    with contextlib.suppress(OSError, ValueError), open(root / LOG, "a") as log:
        log.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {aside.relative_to(root)}: {why}\n")
    return True


def noted_lines(root: Path, first: int = 0) -> list[str]:
    """Return the lines of a store's log from the line `first` on; none if there is no log."""
    try:
        return (root / LOG).read_text(errors="replace").splitlines()[first:]
    except OSError:
        return []
