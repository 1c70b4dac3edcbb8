"""The stage store: artefacts of stages by content address, shared by all trials and searches.

There are two kinds of file. A *blob* is a safetensors file named by the SHA-256 of its bytes. A
*record* is a JSON file named by its key, and it names its blob. Both are written in one move, a record
after its blob. A kill at any moment thus leaves at most an unnamed blob or a temporary file behind,
never half a stage.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save

from spaces.damage import put_aside
from spaces.errors import DamagedError, InputError, first_line
from spaces.files import file_sha256, write_atomically
from spaces.records import parse_json
from trainables.store.leases import Lease, hold_lease
from trainables.store.records import Blob, StageRecord, parse_record

ANSWERS = "predictions"
"""Field of a score's record that takes nearly all of its space."""


class StageStore:
    """Records and blobs under one folder, which all nodes must see at the same path."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def get(self, key: str) -> StageRecord | None:
        """Return the record, or None if there is none that is whole; its tensors may be evicted."""
        record = _read(self._record(key), answers=True)
        return record if record is not None and self._blobs_whole(record) else None

    def header(self, key: str) -> StageRecord | None:
        """Return the record without its `ANSWERS`, cached in this process: trials ask for it often."""
        path = f"{self.root}/records/{key[:2]}/{key}.json"  # a `Path` takes longer than the lookup
        try:
            stat = os.stat(path)
        except OSError:
            return None
        record = _header(path, stat.st_size, stat.st_mtime_ns)
        return record if record is not None and self._blobs_whole(record) else None

    def has(self, key: str) -> bool:
        """Return whether there is a whole record, with its tensors."""
        record = self.header(key)
        return record is not None and not record.evicted

    def check(self, key: str) -> bool:
        """Return as `has`, after every byte was read once in this process; damaged ones are set aside.

        Whoever is about to use the tensors asks this first, so that they can be made again.
        """
        record = self.header(key)
        if record is None or record.evicted:
            return False
        return record.blob is None or self._blob_checked(record.blob.sha256)

    def put(
        self,
        key: str,
        record: StageRecord,
        tensors: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        """Publish a record, its tensors first; a second publication is dropped."""
        if self.has(key):
            return
        if tensors is not None:
            content = save({n: t.detach().cpu().contiguous() for n, t in tensors.items()})
            blob = Blob(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
            record, path = record.model_copy(update={"blob": blob}), self._blob(blob.sha256)
            if not self._blob_checked(blob.sha256):  # unless equal ones are there
                write_atomically(path, content)
            record = record.model_copy(update={"written": path.stat().st_mtime_ns})
        if (path := self._record(key)).is_dir():
            put_aside(path, "a folder stands in its place")
        write_atomically(path, json.dumps(record.to_values(key)))

    def tensors(self, key: str) -> dict[str, torch.Tensor]:
        """Return the tensors of a record; raises `KeyError` if there are none or they changed."""
        record = self.get(key)
        if record is None or record.blob is None or record.evicted:
            raise KeyError(f"stage {key} has no tensors in {self.root}")
        blob = self._blob(record.blob.sha256)
        try:
            content = blob.read_bytes()
        except OSError as error:
            raise KeyError(f"the tensors of stage {key} are gone: {first_line(error)}") from error
        if hashlib.sha256(content).hexdigest() != record.blob.sha256:
            put_aside(blob, "its bytes are not those that its name says")
            raise KeyError(
                f"the tensors of stage {key} were damaged and have been set aside; run again"
            )
        self._note_use(key)
        return load(content)

    def evict(self, sha256: str, keys: Sequence[str]) -> None:
        """Remove the tensors that `keys` have in common; their records stay, marked as evicted."""
        for key in keys:
            record = self.get(key)
            if record is not None:
                evicted = record.model_copy(update={"evicted": True})
                write_atomically(self._record(key), json.dumps(evicted.to_values(key)))
        self._blob(sha256).unlink(missing_ok=True)

    def _note_use(self, key: str) -> None:
        """Record the time of access: eviction takes the least recently used tensors first."""
        with contextlib.suppress(OSError):
            self._record(key).with_suffix(".used").touch()

    def _blobs_whole(self, record: StageRecord) -> bool:
        blob = record.blob
        if blob is None or record.evicted:
            return True
        path = f"{self.root}/blobs/{blob.sha256[:2]}/{blob.sha256}.safetensors"  # as in `header`
        try:
            stat = os.stat(path)
        except OSError:
            return False
        if (stat.st_size, stat.st_mtime_ns) == (blob.bytes, record.written):
            # Unchanged since it was written; whoever reads its tensors checks every byte.
            return True
        return self._blob_checked(blob.sha256)

    def _blob_checked(self, sha256: str) -> bool:
        """Return whether a blob's bytes are those that its name says; another one is set aside."""
        blob = self._blob(sha256)
        try:
            stat = os.stat(blob)
            whole = _sha256(str(blob), stat.st_size, stat.st_mtime_ns) == sha256
        except FileNotFoundError:
            return False
        except OSError as error:  # such as a folder in its place
            put_aside(blob, first_line(error))
            return False
        if not whole:
            put_aside(blob, "its bytes are not those that its name says")
        return whole

    def _record(self, key: str) -> Path:
        return self.root / "records" / key[:2] / f"{key}.json"

    def _blob(self, sha256: str) -> Path:
        return self.root / "blobs" / sha256[:2] / f"{sha256}.safetensors"

    def lease(
        self, key: str, patience: float = math.inf
    ) -> contextlib.AbstractContextManager[Lease]:
        """Hold `key` while making it, after waiting for its present holder.

        Two trials that want one stage train it once: the one that comes later finds it in the store.
        Raises `HeldError` after `patience` seconds.
        """
        return hold_lease(self.root / "leases" / key, patience)


class LazyTensors(Sequence[dict[str, torch.Tensor]]):
    """Tensors of several records, each read on access: all at once may not fit into memory."""

    def __init__(self, store: StageStore, keys: Sequence[str]) -> None:
        self._store, self._keys = store, keys

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, place: Any) -> Any:
        return self._store.tensors(str(self._keys[place]))


def _read(path: Path, answers: bool) -> StageRecord | None:
    """Return a record, or None if there is none; a damaged one is set aside."""
    try:
        values = parse_json(path.read_bytes(), path.name)
        if not isinstance(values, dict):
            raise DamagedError(f"it must hold a JSON object, got {type(values).__name__}")
        record = parse_record(values, path.name, path.stem)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    except (DamagedError, IsADirectoryError) as error:
        put_aside(path, first_line(error))
        return None
    except (InputError, OSError):  # of another version, which may want it; or not to be read now
        return None
    return record if answers or ANSWERS not in values else record.model_copy(update={ANSWERS: ()})


@functools.lru_cache(maxsize=1 << 14)  # parsed once by a process, unless it changes
def _header(path: str, size: int, mtime_ns: int) -> StageRecord | None:
    return _read(Path(path), answers=False)


@functools.lru_cache(maxsize=1 << 14)  # read once by a process, unless it changes
def _sha256(path: str, size: int, mtime_ns: int) -> str:
    return file_sha256(path)
