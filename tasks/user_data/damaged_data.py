"""Damaged data of a conversion: found when a search starts, set aside, and made again."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import ClassVar

from spaces.damage import set_aside
from spaces.errors import DamagedError, InputError, first_line
from spaces.files import write_atomically
from spaces.records import NamedRecord
from tasks.data.benchmark import read_benchmark_file
from tasks.data.manifest import MANIFEST, check_shards, read_manifest

KNOWN = "known"
"""Folder of notes about what was converted, prepared and checked."""
PREPARED = "benchmark-"
"""Beginning of the name of a prepared benchmark; the hash of its content follows."""


class BenchmarkOrigin(NamedRecord):
    """The benchmark file of raw data that a prepared one was made of."""

    TITLE: ClassVar[str] = "origin of a prepared benchmark"
    SCHEMA: ClassVar[int] = 2

    source: str


def note_origin(source: Path, prepared: Path) -> None:
    """Record which file a prepared benchmark was made of, so that it can be made again."""
    origin = BenchmarkOrigin(name=prepared.stem, source=str(source.absolute()))
    write_atomically(_note(prepared), origin.to_json())


def origin_of_damaged(name_or_path: str | Path, out: Path) -> Path | None:
    """Return the raw benchmark behind a prepared one of `out` that is damaged; None for all others."""
    prepared = Path(name_or_path)
    if prepared.parent != out or not prepared.name.startswith(PREPARED):
        return None
    fault = prepared_fault(prepared)
    if fault is None:
        return None
    try:
        origin = BenchmarkOrigin.read(_note(prepared))
    except (OSError, InputError) as error:
        raise InputError(
            f"{fault}, and nothing says what it was made of ({first_line(error)}): put it back, or "
            "start anew with the benchmark's own file"
        ) from error
    _say(f"{fault}; it is made again from {origin.source}")
    return Path(origin.source)


def prepared_fault(prepared: Path) -> str | None:
    """Return why a prepared benchmark, or the data of one of its tasks, cannot be used; else None."""
    try:
        name = hashlib.sha256(prepared.read_bytes()).hexdigest()[:16]
        if prepared.stem != f"{PREPARED}{name}":
            set_aside(prepared, "its bytes are not those that its name says")
            return f"{prepared} is damaged"
        path, file = read_benchmark_file(prepared)
        for name, entry in file.tasks.items():
            folder = entry.data_path(name, path.parent)
            if folder.parent == path.parent and not (folder / MANIFEST).is_file():
                return f"{folder / MANIFEST} is gone"
            if (folder / MANIFEST).is_file():
                check_shards(folder)
    except OSError as error:
        return f"{prepared} cannot be read: {error.strerror}"
    except InputError as error:
        return first_line(error)
    return None


def set_damaged_aside(folder: Path) -> bool:
    """Set damaged data aside, and say so; return whether the folder must be made again."""
    try:
        read_manifest(folder)
    except DamagedError as error:
        damaged = first_line(error)
    except InputError:  # of another version, or a shard is gone: what is missing is written again
        return True
    else:
        try:
            check_shards(folder)
            return False
        except InputError as error:
            damaged = first_line(error)
    aside = set_aside(folder, damaged)
    moved = f" and was set aside as {aside.name}" if aside else ""
    _say(f"damaged     {folder} is damaged{moved}, and is converted again: {damaged}")
    return True


def _note(prepared: Path) -> Path:
    return prepared.parent / KNOWN / f"{prepared.stem}.json"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
