"""Manifest of a converted task: its sources, counts and Arrow shards with their hashes.

train-00000.arrow, validation-00000.arrow, ...   id, prompt, answer, answers, history, system, images
images-00000.arrow, ...                          sha256, bytes; `images` above are row numbers here
manifest.json                                    the record in this file
rejected.jsonl                                   rejected rows with their reasons
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel

from spaces.errors import InputError
from spaces.files import file_sha256
from spaces.records import Record

MANIFEST = "manifest.json"
REJECTED = "rejected.jsonl"
IMAGES = "images"


class ShardFile(BaseModel):
    """One Arrow file of a converted task."""

    file: str
    rows: int
    bytes: int
    mtime_ns: int
    sha256: str


class SourceFile(BaseModel):
    """One file of the user's that was converted."""

    split: str
    file: str
    bytes: int
    mtime_ns: int
    sha256: str
    format: str
    container: str
    why: str
    """Reason for which the format was chosen."""


class RowCounts(BaseModel):
    """Rows of all sources: `read` is the sum of the others."""

    read: int
    accepted: int
    rejected: int
    left_out: int
    """Rows beyond a limit."""


class Manifest(Record):
    """Content of `manifest.json`."""

    TITLE: ClassVar[str] = "manifest of converted data"
    SCHEMA: ClassVar[int] = 2
    SEALED: ClassVar[bool] = True
    REMEDY: ClassVar[str] = "convert the data again"

    version: int
    """Version of the conversion."""
    task: str
    settings: Mapping[str, Any]
    sources: tuple[SourceFile, ...]
    made_splits: tuple[str, ...]
    """Splits that were taken from train."""
    rows: RowCounts
    reasons: Mapping[str, int]
    """Rejected rows by reason."""
    notes: Mapping[str, int]
    """Accepted rows by keys that were not used, and other things that were left out or kept."""
    repeated_ids: int
    examples: Mapping[str, int]
    """Examples of each split."""
    images: int
    shards: Mapping[str, tuple[ShardFile, ...]]
    """Files of each split, and those of `IMAGES`."""

    def files(self, folder: Path, name: str) -> tuple[Path, ...]:
        """Return the paths of a split's shards, or of the image shards."""
        return tuple(folder / shard.file for shard in self.shards.get(name, ()))


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a converted task; raise `InputError` if a file that it lists is missing."""
    path = folder / MANIFEST
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; convert the data again") from error
    manifest = Manifest.from_json(content, str(path))
    names = [shard.file for shards in manifest.shards.values() for shard in shards]
    missing = [name for name in names if Path(name).name != name or not (folder / name).is_file()]
    if missing:
        raise InputError(f"{folder} must hold what its {MANIFEST} lists: no {', '.join(missing)}")
    return manifest


def check_shards(folder: Path, names: Collection[str] | None = None) -> Manifest:
    """Read the content of every shard; raise `InputError` unless it is as the conversion wrote it.

    Sizes and times are not believed. `names`: some splits, or `IMAGES`; None for all.
    """
    manifest = read_manifest(folder)
    for name, shards in manifest.shards.items():
        for shard in shards if names is None or name in names else ():
            check_shard(folder / shard.file, shard)
    return manifest


def check_shard(path: Path, shard: ShardFile) -> None:
    """Raise `InputError` unless a file's content is as its conversion wrote it."""
    try:
        same = path.stat().st_size == shard.bytes and file_sha256(path) == shard.sha256
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; convert the data again") from error
    if not same:
        raise InputError(
            f"{path} must be as the conversion wrote it, and is damaged or edited: delete its folder, "
            "and the data are converted again"
        )


def check_recorded(path: Path) -> None:
    """Raise `InputError` if the manifest beside a file records another content."""
    if (path.parent / MANIFEST).is_file():
        for shards in read_manifest(path.parent).shards.values():
            for shard in shards:
                if shard.file == path.name:
                    check_shard(path, shard)


def recorded_sha256(path: Path) -> str | None:
    """Return a file's SHA-256 from the manifest beside it, if size and time are as recorded there.

    Large data are thus not read at every start. A copy with other times is read and hashed.
    """
    if not (path.parent / MANIFEST).is_file():
        return None
    stat = path.stat()
    for shards in read_manifest(path.parent).shards.values():
        for shard in shards:
            same = (shard.bytes, shard.mtime_ns) == (stat.st_size, stat.st_mtime_ns)
            if shard.file == path.name and same:
                return shard.sha256
    return None
