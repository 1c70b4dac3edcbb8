"""Damaged files of a storage: set aside under another name, noted in a log, and told at the end."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import time
import uuid
from pathlib import Path

from spaces.secrets import masked
from spaces.storage import MARKER

logger = logging.getLogger(__name__)
LOG = "damaged.log"
"""File of a storage, and of a search's folder, with a line for each file that was set aside there."""
DAMAGED = ".damaged-"
"""Part of the name of a file that was set aside; the time and a random number follow."""
_ASIDE = re.compile(rf"(?P<file>.+){re.escape(DAMAGED)}\d{{8}}-\d{{6}}-[0-9a-f]{{6}}")
_NOTED = re.compile(r"\S+ (?P<aside>.+?): (?P<why>.*)")


def set_aside(path: str | Path, why: str) -> Path | None:
    """Rename a damaged file or folder, so that it can be made again, and note it; return its new path.

    Returns None if it cannot be renamed: another process was quicker, or the folder is read-only.
    """
    now = time.strftime("%Y%m%d-%H%M%S")
    aside = Path(f"{path}{DAMAGED}{now}-{uuid.uuid4().hex[:6]}")
    try:
        os.rename(path, aside)
    except OSError:
        return None
    logger.info("%s was set aside: %s", path, why)
    root = _log_folder(aside.absolute())
    line = " ".join(masked(f"{aside.absolute().relative_to(root)}: {why}").split())
    with contextlib.suppress(OSError, ValueError), open(root / LOG, "a", encoding="utf-8") as log:
        log.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {line}\n")
    return aside


def put_aside(path: str | Path, why: str) -> bool:
    """Set a damaged file aside and warn of it; return False if nothing was renamed."""
    if set_aside(path, why) is None:
        return False
    logger.warning("%s is damaged and was set aside: %s", path, why)
    return True


def original(path: str | Path) -> Path | None:
    """Return the path that a file had before it was set aside; None for a file that was not."""
    found = _ASIDE.fullmatch(Path(path).name)
    return Path(path).with_name(found["file"]) if found else None


class DamageWatch:
    """Files that are set aside in a storage and a search's folder from now on."""

    def __init__(self, *folders: Path) -> None:
        self._logs: dict[Path, int] = {}
        self.add(*folders)

    def add(self, *folders: Path) -> None:
        """Watch more folders that have a log of their own."""
        for folder in folders:
            self._logs.setdefault(folder / LOG, len(_lines(folder / LOG)))

    def lines(self) -> list[str]:
        """Return a line for the files that were set aside since the last call; none if none was."""
        lines = []
        for log, told in self._logs.items():
            noted = _lines(log)
            self._logs[log] = len(noted)
            found = [match for line in noted[told:] if (match := _NOTED.fullmatch(line))]
            lines += [_told(log, [match["aside"] for match in found])] if found else []
        return lines

    def tell(self) -> None:
        """Print the lines, if there are any."""
        for line in self.lines():
            print(line, flush=True)


def _told(log: Path, aside: list[str]) -> str:
    """Return the line for some files of one log: how many, where, and which are there again."""
    files = [original(log.parent / name) or log.parent / name for name in aside]
    places = sorted({name.split("/")[0] for name in aside if "/" in name})
    gone = [file for file in dict.fromkeys(files) if not file.exists()]
    count = f"{len(files)} damaged file{'s' * (len(files) > 1)}"
    where = f" of {', '.join(places)}" if places else ""
    again = "made again" if not gone else f"made again but for {len(gone)}"
    if len(gone) == len(set(files)):
        again = "not made again so far"
    return f"set aside: {count}{where}, {again} (why: {log})"


def _lines(log: Path) -> list[str]:
    try:
        return log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _log_folder(path: Path) -> Path:
    """Return the folder of a file's log: the nearest above it with a storage's marker, else its own."""
    marked = (folder for folder in path.parents if (folder / MARKER).is_file())
    return next(marked, path.parent)
