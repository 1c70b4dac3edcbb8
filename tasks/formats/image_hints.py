"""Hints about image files that are missing: the file that was probably meant, if one is there."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote

MOST_HINTS = 50
"""Missing files of one folder for which a hint is looked for: each needs some looks at the disk."""
MOST_FOLDERS = 50
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


class PathHints:
    """Look-up of files with nearly the written path in an image folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._given = 0

    def hint(self, reference: str) -> str:
        """Return a hint that begins with a colon; empty if nothing like it is there."""
        self._given += 1
        if self._given > MOST_HINTS:
            return ""
        with suppress(OSError, ValueError):
            return self._hint(reference)
        return ""

    def _hint(self, reference: str) -> str:
        windows = bool(_DRIVE.match(reference))
        written = re.sub("^file:/*", "/", reference, flags=re.IGNORECASE)
        parts = [part for part in re.split(r"[\\/]+", unquote(written)) if part not in ("", ".")]
        for start in range(len(parts)):
            found = self.folder.joinpath(*parts[start:])
            if start and found.is_file() and ".." not in parts[start:]:
                rest = "/".join(parts[start:])
                cause = "a path of Windows" if windows else "paths start from the image folder"
                return f': {cause}; did you mean "{rest}", which is there?'
        if not windows and (near := self._near(Path(*parts[-2:-1]), parts[-1:])):
            return f': did you mean "{near}"?'
        for folder in _folders(str(self.folder)):
            if parts and self.folder.joinpath(folder, *parts).is_file():
                return f': it is in "{folder}"; set images: to that folder'
        return ": a path of Windows" if windows else ""

    def _near(self, parent: Path, names: list[str]) -> str | None:
        """Return a file of the same folder that differs in capitals or in its suffix alone."""
        for folder in (parent, Path()):
            for name in names:
                known = _files(str(self.folder / folder))
                found = known.get(name.lower()) or known.get(Path(name).stem.lower())
                if found:
                    return str(folder / found)
        return None


@lru_cache(maxsize=16)
def _files(folder: str) -> dict[str, str]:
    """Return the files of a folder by their names in small letters, with and without suffix."""
    if not os.path.isdir(folder):
        return {}
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.is_file())
    return {Path(name).stem.lower(): name for name in names} | {n.lower(): n for n in names}


@lru_cache(maxsize=16)
def _folders(folder: str) -> tuple[str, ...]:
    with os.scandir(folder) as entries:
        return tuple(sorted(entry.name for entry in entries if entry.is_dir())[:MOST_FOLDERS])
