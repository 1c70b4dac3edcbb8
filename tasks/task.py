"""A task: one instruction-tuning dataset in three splits, and the metric of its answers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from spaces.errors import unknown
from tasks.rows import Example, Rows, read_table

__all__ = ["SPLITS", "Example", "Task"]

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Task:
    """Train, validation and test examples and the metric of their answers.

    `closed` says that every answer is one of the training answers, so that forgetting the format of
    answers can be told from forgetting the knowledge. `files`: one Parquet or Arrow file a split.
    """

    name: str
    metric: str
    max_new_tokens: int
    closed: bool
    description: str
    files: Mapping[str, Path] = field(hash=False)
    answer_format: str = ""
    """What an answer must look like, as `tasks.answer_formats` names it; empty: as `closed` says."""

    def examples(self, split: str) -> Sequence[Example]:
        """The examples of a split; nothing is read before the first is asked for."""
        return Rows(self._file(split), split)

    def answer_set(self) -> tuple[str, ...] | None:
        """The distinct training answers, sorted, where the task is closed; else None."""
        if not self.closed:
            return None
        answers = read_table(self._file("train"), ("answer",)).column("answer")
        return tuple(sorted(str(answer) for answer in answers.unique().to_pylist()))

    def fingerprint(self) -> str:
        """Sha256 of what a stage's result depends on: the data and how answers are scored.

        Folder, file and task names have no part in it: the same data elsewhere is the same task.
        """
        digest = hashlib.sha256(f"{self.metric} {self.max_new_tokens} {self.closed}".encode())
        digest.update(self.answer_format.encode())
        for split in sorted(self.files):
            digest.update(f" {split} {_file_digest(self.files[split])}".encode())
        return digest.hexdigest()

    def _file(self, split: str) -> Path:
        if split not in self.files:
            raise unknown("split", split, self.files)
        return self.files[split]


def _file_digest(path: Path) -> str:
    stat = path.stat()
    return _digest(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=1024)  # a search asks again for every stage
def _digest(path: Path, size: int, mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
