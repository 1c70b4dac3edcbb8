"""A task: one instruction-tuning dataset in three splits, and the metric of its answers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from spaces.errors import InputError, unknown
from spaces.files import file_sha256
from tasks.data.manifest import recorded_sha256
from tasks.data.rows import Rows, read_tables

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Task:
    """Train, validation and test examples, and the metric of their answers.

    `closed`: every answer is one of the training answers, so that loss of the answer format and loss
    of knowledge can be measured apart. `files`: the Parquet or Arrow files of each split; `images`: the
    image shards that their rows point into, if they do.
    """

    name: str
    metric: str
    max_new_tokens: int
    closed: bool
    description: str
    files: Mapping[str, tuple[Path, ...]] = field(hash=False)
    images: tuple[Path, ...] = ()
    answer_format: str = ""
    """Form that a compliant answer has; empty: `closed` decides."""

    def examples(self, split: str) -> Rows:
        """Return the examples of a split; nothing is read before the first use."""
        return Rows(self.split_files(split), split, self.images)

    def answer_set(self) -> tuple[str, ...] | None:
        """Return the distinct training answers, sorted, if the task is closed; else None."""
        if not self.closed:
            return None
        answers = read_tables(self.split_files("train"), ("answer",)).column("answer")
        return tuple(sorted(str(answer) for answer in answers.unique().to_pylist()))

    def fingerprint(self) -> str:
        """Hash all that a stage's result depends on: the data, and how answers are scored.

        Folder, file and task names are left out: the same data elsewhere are the same task.
        """
        scoring = f"{self.metric} {self.max_new_tokens} {self.closed}"
        scoring += f" {self.answer_format}" if self.answer_format else ""
        digest = hashlib.sha256(scoring.encode())
        for split in sorted(self.files):
            digest.update(f" {split} {' '.join(map(_file_digest, self.files[split]))}".encode())
        for path in self.images:
            digest.update(f" images {_file_digest(path)}".encode())
        return digest.hexdigest()

    def split_files(self, split: str) -> tuple[Path, ...]:
        """Return the files of a split; raise `InputError` that names the nearest split otherwise."""
        if split not in self.files:
            raise unknown("split", split, self.files)
        return self.files[split]


def _file_digest(path: Path) -> str:
    stat = path.stat()
    return _digest(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=1024)  # a search asks again for every stage
def _digest(path: Path, size: int, mtime_ns: int) -> str:
    try:
        return recorded_sha256(path) or file_sha256(path)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
