"""Writers of Arrow shards: the texts of a task's splits, and its distinct images."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from spaces.files import file_sha256
from tasks.data.images import ImageInfo
from tasks.data.manifest import IMAGES, ShardFile
from tasks.formats.raw_example import RawExample

SHARD_BYTES = 1 << 29
"""Bytes of texts or images in one file."""
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
IMAGE_SCHEMA = pa.schema(
    {
        "sha256": pa.binary(32),
        "format": pa.string(),
        "mode": pa.string(),
        "width": pa.int32(),
        "height": pa.int32(),
        "bytes": pa.large_binary(),
    }
)


class ShardWriter:
    """Writer of rows into files of bounded size; bounded batches are held in memory."""

    def __init__(self, folder: Path, name: str, schema: pa.Schema) -> None:
        self.folder, self.name, self.schema = folder, name, schema
        self.count = 0
        self._batch: list[Mapping[str, Any]] = []
        self._batch_bytes, self._file_bytes = 0, 0
        self._writer: pa.RecordBatchFileWriter | None = None
        self._files: list[Path] = []

    def add(self, row: Mapping[str, Any], size: int) -> None:
        """Add one row of about `size` bytes."""
        self._batch.append(row)
        self._batch_bytes += size
        self.count += 1
        if self._batch_bytes >= BATCH_BYTES or len(self._batch) >= BATCH_ROWS:
            self._flush()

    def close(self) -> tuple[ShardFile, ...]:
        """Finish the last file; return the manifest's entry of every file."""
        self._flush()
        self._end_file()
        return tuple(map(shard_file, self._files))

    def _flush(self) -> None:
        if not self._batch:
            return
        writer = self._writer
        if writer is None:
            path = self.folder / f"{self.name}-{len(self._files):05d}.arrow"
            self._files.append(path)
            writer = pa.ipc.new_file(str(path), self.schema)  # not compressed: it is mapped
            self._writer = writer
        writer.write_batch(pa.RecordBatch.from_pylist(self._batch, schema=self.schema))
        self._file_bytes += self._batch_bytes
        self._batch, self._batch_bytes = [], 0
        if self._file_bytes >= SHARD_BYTES:
            self._end_file()

    def _end_file(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer, self._file_bytes = None, 0


class ImageShards:
    """Writer of a task's distinct images; a repeated image keeps its first row number."""

    def __init__(self, folder: Path) -> None:
        self._writer = ShardWriter(folder, IMAGES, IMAGE_SCHEMA)
        self._rows: dict[bytes, int] = {}

    def add(self, image: bytes, info: ImageInfo | None) -> int:
        """Write an image unless it is there already, with its description; return its row number."""
        digest = hashlib.sha256(image).digest()
        if digest not in self._rows:
            assert info is not None  # only images that are here already are not inspected again
            self._rows[digest] = len(self._rows)
            kind = {"format": info.format, "mode": info.mode}
            size = {"width": info.width, "height": info.height}
            self._writer.add({"sha256": digest, "bytes": image, **kind, **size}, len(image))
        return self._rows[digest]

    def __contains__(self, image: bytes) -> bool:
        return hashlib.sha256(image).digest() in self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def close(self) -> tuple[ShardFile, ...]:
        """Finish the last file; return the manifest's entry of every file."""
        return self._writer.close()


def text_row(example: RawExample, images: Sequence[int]) -> dict[str, Any]:
    """Return an example as a row of a shard; `images` are row numbers in the image shards."""
    return {
        "id": example.id,
        "prompt": example.prompt,
        "answer": example.answer,
        "answers": list(example.answers),
        "history": [{"prompt": prompt, "answer": answer} for prompt, answer in example.history],
        "system": example.system,
        "images": list(images),
    }


def text_size(example: RawExample) -> int:
    """Estimate the bytes that an example's texts take."""
    turns = sum(len(prompt) + len(answer) for prompt, answer in example.history)
    texts = len(example.prompt) + sum(map(len, example.answers)) + len(example.system)
    return 64 + texts + turns


def shard_file(path: Path) -> ShardFile:
    """Return the manifest's entry of one finished file."""
    with pa.ipc.open_file(pa.memory_map(str(path))) as reader:
        rows = sum(reader.get_batch(n).num_rows for n in range(reader.num_record_batches))
    stat = path.stat()
    return ShardFile(
        file=path.name,
        rows=rows,
        bytes=stat.st_size,
        mtime_ns=stat.st_mtime_ns,
        sha256=file_sha256(path),
    )
