"""Check of a whole storage: every file is read or counted, and damaged and lost ones are named."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from search.results.formatting import format_duration
from search.storage.file_kinds import KINDS, OTHER, WORKING, Check, kind_of
from search.storage.lost_files import Lost, lost_files, lost_of_search, searches
from search.storage.result_files import NotCheckedError
from search.storage.stale_tables import stale_tables
from spaces.damage import original, set_aside
from spaces.errors import DamagedError, InputError, first_line

PROGRESS_SECONDS = 10.0
"""Seconds between two lines of progress."""
NAMED = 5
"""Files that a line of a count names."""


@dataclass
class Findings:
    """Files of a storage by what was found of them."""

    storage: Path
    sound: Counter[str] = field(default_factory=Counter)
    """Numbers by kind, as in the next one."""
    foreign: Counter[str] = field(default_factory=Counter)
    """Files that another version wrote."""
    damaged: list[tuple[str, Path, str]] = field(default_factory=list)
    """Kind, path and reason of each damaged file."""
    lost: list[Lost] = field(default_factory=list)
    unchecked: list[Path] = field(default_factory=list)
    """Files of no known kind."""
    aside: list[Path] = field(default_factory=list)
    """Files and folders that were set aside before."""
    stale: list[str] = field(default_factory=list)
    """Notes on tables that are not those of the trial records."""

    def lines(self) -> list[str]:
        """Return a table by kind, a line for each damaged or lost file, and counts of the others."""
        rows = [f"{'kind':10}{'files':>8}{'sound':>8}{'damaged':>9}{'foreign':>9}"]
        for kind in (kind for kind in KINDS if kind != WORKING):
            bad = sum(k == kind for k, _, _ in self.damaged)
            sound, foreign = self.sound[kind], self.foreign[kind]
            rows.append(f"{kind:10}{sound + bad + foreign:8}{sound:8}{bad:9}{foreign:9}")
        rows += [f"damaged: {path}: {why}" for _, path, why in self.damaged]
        rows += [f"lost: {path}: {why}" for path, why in self.lost]
        rows += [f"note: {line}" for line in self.stale]
        rows += self._counted("set aside before", self.aside)
        rows += self._counted("not checked, for their kind is not known", self.unchecked)
        if count := self.sound[WORKING]:
            rows.append(f"not checked, for no search reads them again: {count} files of processes")
        return rows

    def _counted(self, what: str, paths: list[Path]) -> list[str]:
        """Return a line that counts some paths and names the first; none if there are none."""
        names = [path.relative_to(self.storage).as_posix() for path in paths[:NAMED]]
        more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
        return [f"{what}: {len(paths)}: {', '.join(names)}{more}"] if paths else []


def verify_storage(storage: Path, aside: bool, notify: Callable[[str], None] = print) -> bool:
    """Check every file, print a table and return True if all are sound; `aside` sets others aside."""
    found = Findings(storage)
    files = list(_files(storage, found))
    if all(kind in (WORKING, OTHER) for kind, _, _ in files):
        raise InputError(f'a storage holds searches and their stages, and "{storage}" holds none')
    total, done, start = sum(_size(path) for _, path, _ in files), 0, time.monotonic()
    shown = start
    for kind, path, check in files:
        _look(kind, path, check, found)
        done += _size(path)
        if done and time.monotonic() - shown > PROGRESS_SECONDS:
            shown = time.monotonic()
            left = format_duration((shown - start) * (total - done) / done)
            notify(f"{done / 1e9:.2f} of {total / 1e9:.2f} GB read, about {left} left")
    damaged = {path for _, path, _ in found.damaged}
    for run in searches(storage):
        found.lost += [lost for lost in lost_of_search(run) if lost[0] not in damaged]
        found.stale += stale_tables(run)
    for line in found.lines():
        notify(line)
    for _, path, why in found.damaged if aside else ():
        if moved := set_aside(path, why):
            notify(f"set aside as {moved.name}")
    return not found.damaged and not found.lost


def _files(storage: Path, found: Findings) -> list[tuple[str, Path, Check]]:
    """Return kind, path and check of each file; those that were set aside before are only noted."""
    files, folders = [], [storage]
    while folders:
        for path in sorted(_entries(folders.pop())):
            file = path.relative_to(storage).as_posix()
            if original(path):
                found.aside.append(path)
            elif path.is_dir() and not path.is_symlink() and not _in_place_of_a_file(file):
                folders.append(path)
            else:
                kind, check = kind_of(file)
                files.append((kind, path, check))
    order = {kind: number for number, kind in enumerate((*KINDS, OTHER))}
    return sorted(files, key=lambda entry: (order[entry[0]], entry[1]))


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _in_place_of_a_file(file: str) -> bool:
    """Return whether a folder stands where a file of a known kind belongs."""
    return kind_of(file)[0] not in (WORKING, OTHER, "result", "best")


def _look(kind: str, path: Path, check: Check, found: Findings) -> None:
    """Check one file, and add it to the findings."""
    try:
        why = "a folder stands in its place" if path.is_dir() else check(path)
        if why is None:
            found.lost += lost_files(kind, path)
    except DamagedError as error:
        why = first_line(error)
    except InputError:
        found.foreign[kind] += 1
        return
    except NotCheckedError:
        found.unchecked.append(path)
        return
    except FileNotFoundError:  # of a search that goes on
        return
    except (OSError, ValueError) as error:
        why = first_line(error)
    if why:
        found.damaged.append((kind, path, why))
    else:
        found.sound[kind] += 1


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
