"""A converted task on disk: Arrow shards of its texts and of its distinct images, and a manifest.

train-00000.arrow, validation-00000.arrow, ...   id, prompt, answer, answers, history, system, images
images-00000.arrow, ...                          sha256, bytes; `images` above are row numbers here
manifest.json                                    where all of it comes from, and its hashes
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from spaces.errors import InputError
from tasks.formats.record import Record

MANIFEST = "manifest.json"
REJECTED = "rejected.jsonl"
IMAGES = "images"
SHARD_BYTES = 1 << 29  # of texts or images in one file
BATCH_BYTES = 1 << 24
BATCH_ROWS = 1024

TURNS = pa.list_(pa.struct({"prompt": pa.string(), "answer": pa.string()}))
TEXT_SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "prompt": pa.string(),
        "answer": pa.string(),
        "answers": pa.list_(pa.string()),
        "history": TURNS,
        "system": pa.string(),
        "images": pa.list_(pa.int64()),
    }
)
IMAGE_SCHEMA = pa.schema({"sha256": pa.binary(32), "bytes": pa.large_binary()})


class ShardWriter:
    """Writes rows into files of bounded size, a bounded number of bytes at a time."""

    def __init__(self, folder: Path, name: str, schema: pa.Schema) -> None:
        self.folder, self.name, self.schema = folder, name, schema
        self.count = 0
        self._rows: list[Mapping[str, Any]] = []
        self._waiting, self._in_file = 0, 0
        self._writer: pa.RecordBatchFileWriter | None = None
        self._files: list[Path] = []

    def add(self, row: Mapping[str, Any], size: int) -> None:
        """One row of about `size` bytes."""
        self._rows.append(row)
        self._waiting += size
        self.count += 1
        if self._waiting >= BATCH_BYTES or len(self._rows) >= BATCH_ROWS:
            self._flush()

    def close(self) -> list[dict[str, Any]]:
        """Finish, and tell each file's name, rows, size, time and sha256 for the manifest."""
        self._flush()
        self._end_file()
        return [shard_entry(path) for path in self._files]

    def _flush(self) -> None:
        if not self._rows:
            return
        writer = self._writer
        if writer is None:
            path = self.folder / f"{self.name}-{len(self._files):05d}.arrow"
            self._files.append(path)
            writer = pa.ipc.new_file(str(path), self.schema)  # not compressed: it is mapped
            self._writer = writer
        writer.write_batch(pa.RecordBatch.from_pylist(self._rows, schema=self.schema))
        self._in_file += self._waiting
        self._rows, self._waiting = [], 0
        if self._in_file >= SHARD_BYTES:
            self._end_file()

    def _end_file(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer, self._in_file = None, 0


class ImageStore:
    """The distinct images of a task; an image that comes again is the row it was."""

    def __init__(self, folder: Path) -> None:
        self._writer = ShardWriter(folder, IMAGES, IMAGE_SCHEMA)
        self._known: dict[bytes, int] = {}

    def add(self, image: bytes) -> int:
        """The row number of an image, which is written where it is new."""
        name = hashlib.sha256(image).digest()
        if name not in self._known:
            self._known[name] = len(self._known)
            self._writer.add({"sha256": name, "bytes": image}, len(image))
        return self._known[name]

    def __contains__(self, image: bytes) -> bool:
        return hashlib.sha256(image).digest() in self._known

    def __len__(self) -> int:
        return len(self._known)

    def close(self) -> list[dict[str, Any]]:
        return self._writer.close()


def text_row(record: Record, images: Sequence[int]) -> dict[str, Any]:
    """A record as a row of a shard."""
    return {
        "id": record.id,
        "prompt": record.prompt,
        "answer": record.answer,
        "answers": list(record.answers),
        "history": [{"prompt": prompt, "answer": answer} for prompt, answer in record.history],
        "system": record.system,
        "images": list(images),
    }


def text_size(record: Record) -> int:
    """About how many bytes a record's texts take."""
    turns = sum(len(prompt) + len(answer) for prompt, answer in record.history)
    return 64 + len(record.prompt) + sum(map(len, record.answers)) + turns + len(record.system)


def shard_entry(path: Path) -> dict[str, Any]:
    """What the manifest says of one file."""
    with pa.ipc.open_file(pa.memory_map(str(path))) as reader:
        rows = sum(reader.get_batch(n).num_rows for n in range(reader.num_record_batches))
    stat = path.stat()
    entry = {"file": path.name, "rows": rows, "bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    return entry | {"sha256": file_sha256(path)}


def file_sha256(path: Path) -> str:
    """Sha256 of a file's bytes; `InputError` if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a converted task; `InputError` if it is not as it was written."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        shards = manifest["shards"]
        names = [str(entry["file"]) for entries in shards.values() for entry in entries]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} must be as the conversion wrote it: {error!r}") from error
    missing = [name for name in names if Path(name).name != name or not (folder / name).is_file()]
    if missing:
        raise InputError(f"{folder} must hold what its {MANIFEST} lists: no {', '.join(missing)}")
    return manifest


def shard_files(folder: Path, manifest: Mapping[str, Any], name: str) -> tuple[Path, ...]:
    """The files of a split, or of the images."""
    return tuple(folder / entry["file"] for entry in manifest["shards"].get(name, ()))


def known_sha256(path: Path) -> str | None:
    """The hash that the manifest beside a file tells of it, if the file's size and time are those.

    So 100 GB are not read at every start. A copy with new times is read, and has the same hash.
    """
    if not (path.parent / MANIFEST).is_file():
        return None
    stat = path.stat()
    for entries in read_manifest(path.parent)["shards"].values():
        for entry in entries:
            same = (entry["bytes"], entry["mtime_ns"]) == (stat.st_size, stat.st_mtime_ns)
            if entry["file"] == path.name and same:
                return str(entry["sha256"])
    return None
