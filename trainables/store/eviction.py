"""Eviction: stages that no search needs are removed, then the least recently used tensors.

A record is small and stays as long as a search names it: scores, costs and reports come from it. Its
tensors (weights, importances, memories) can be made again.
"""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from spaces.files import write_atomically
from trainables.store.leases import alive, hold_lease
from trainables.store.stage_store import StageStore
from trainables.trial_record import TRIALS, named_keys

GRACE_SECONDS = 600.0
"""Age below which a file may be in use by a trial that has not named it yet."""
PINS = "pins"
"""Folder of the lists of keys that running trials need."""


@dataclass(frozen=True)
class Eviction:
    """Bytes removed, or that would be removed."""

    removed: int
    """Records and tensors that no search needs."""
    evicted: int
    """Tensors that can be made again."""
    left: int
    pinned: int
    """Tensors that running trials need, a part of `left`."""


@dataclass(frozen=True)
class Entry:
    """A record's file, its tensors and their last use."""

    file: Path
    sha256: str
    """Hash of its tensors; empty if it has none any more."""
    used: float
    """Time at which its tensors were last read, or it was written."""

    @classmethod
    def of(cls, file: Path) -> Entry:
        """Read a record; one that is damaged has no tensors."""
        mark = file.with_suffix(".used")
        used = max(f.stat().st_mtime for f in (file, mark) if f.exists())
        try:
            record = json.loads(file.read_text())
            sha256 = "" if record.get("evicted") else str(record["blob"]["sha256"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            sha256 = ""
        return cls(file, sha256, used)


@contextlib.contextmanager
def pinned(store: StageStore, keys: Collection[str]) -> Iterator[None]:
    """Protect the tensors of `keys` from eviction meanwhile, whether they exist or are still to be made."""
    path = store.root / PINS / uuid.uuid4().hex
    listed = path.with_suffix(".json")
    with hold_lease(path):
        with _alone(store):  # an eviction that has begun does not know of it
            write_atomically(listed, json.dumps(sorted(keys)))
        try:
            yield
        finally:
            listed.unlink(missing_ok=True)


def evict_unneeded(
    store: StageStore, searches: Path, limit: float | None, dry: bool = False
) -> Eviction:
    """Remove stages that no search in `searches` needs, then tensors until `limit` bytes are left.

    With `dry`, only count them. Tensors that running trials need stay, even beyond the limit.
    """
    with _alone(store):
        pins = _pins(store)
        named, young = _named(searches), time.time() - GRACE_SECONDS
        entries = {file.stem: Entry.of(file) for file in _files(store, "records", "*.json")}
        # A trial's record that cannot be read may need any stage: it is made again from them.
        known = entries.keys() if named is None else pins | named
        gone = {k: e for k, e in entries.items() if k not in known and e.used < young}
        left = {key: entry for key, entry in entries.items() if key not in gone}
        blobs = {file.stem: file for file in _files(store, "blobs", "*.safetensors")}
        sizes = {sha256: file.stat().st_size for sha256, file in blobs.items()}
        used: dict[str, float] = {}
        for entry in left.values():
            used[entry.sha256] = max(entry.used, used.get(entry.sha256, 0.0))
        orphans = [s for s, file in blobs.items() if s not in used and file.stat().st_mtime < young]
        removed = sum(sizes[sha256] for sha256 in orphans) + _bytes(gone.values())
        size = sum(sizes.values()) + _bytes(entries.values()) - removed
        needed = {left[key].sha256 for key in pins if key in left} & blobs.keys()
        chosen, evicted = [], 0
        for sha256 in sorted(used.keys() & blobs.keys() - needed, key=lambda s: used[s]):
            if limit is not None and size - evicted > limit:
                chosen.append(sha256)
                evicted += sizes[sha256]
        if not dry:
            for entry in gone.values():
                for file in (entry.file, entry.file.with_suffix(".used")):
                    file.unlink(missing_ok=True)
            for sha256 in chosen:
                store.evict(sha256, [k for k, e in left.items() if e.sha256 == sha256])
            for sha256 in orphans:
                blobs[sha256].unlink(missing_ok=True)
            for file in _files(store, "", ".*.*"):  # of writers that were killed
                if "leases" not in file.parts and file.stat().st_mtime < young:
                    file.unlink(missing_ok=True)
        return Eviction(removed, evicted, size - evicted, sum(sizes[s] for s in needed))


def stored(store: StageStore) -> int:
    """Return the bytes of all files in the store."""
    return sum(file.stat().st_size for file in _files(store, "", "*"))


def _alone(store: StageStore) -> contextlib.AbstractContextManager[object]:
    return store.lease("eviction")


def _files(store: StageStore, folder: str, pattern: str) -> list[Path]:
    """Return the files in a folder of the store; some may vanish at any moment."""
    found = []
    for file in (store.root / folder).rglob(pattern):
        with contextlib.suppress(FileNotFoundError):
            if file.stat().st_size >= 0 and file.is_file():
                found.append(file)
    return found


def _bytes(entries: Collection[Entry]) -> int:
    return sum(entry.file.stat().st_size for entry in entries)


def _pins(store: StageStore) -> set[str]:
    """Return the keys that running trials need; the lists of dead trials are removed."""
    keys: set[str] = set()
    for listed in (store.root / PINS).glob("*.json"):
        with contextlib.suppress(FileNotFoundError):
            if alive(listed.with_suffix("")):
                try:
                    keys |= set(json.loads(listed.read_text()))
                except (ValueError, TypeError):  # damaged: its trial may need any of them
                    keys |= {file.stem for file in _files(store, "records", "*.json")}
                continue
        listed.unlink(missing_ok=True)
        listed.with_suffix("").unlink(missing_ok=True)
    return keys


def _named(searches: Path) -> set[str] | None:
    """Return the keys that the trials of all searches name; None if a record cannot be read."""
    named: set[str] = set()
    for record in searches.glob(f"*/{TRIALS}/*.json"):
        keys = named_keys(record)
        if keys is None:
            return None
        named |= keys
    return named
