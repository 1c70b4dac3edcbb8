"""One task's raw records, checked and written into the shards of a folder."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from spaces.errors import InputError
from tasks.data.images import decoding_fault
from tasks.data.row_report import RowRequirements, text_faults
from tasks.data.rows import IMAGE
from tasks.data.shards import (
    IMAGES,
    MANIFEST,
    REJECTED,
    TEXT_SCHEMA,
    ImageStore,
    ShardWriter,
    file_sha256,
    text_row,
    text_size,
)
from tasks.data.task import SPLITS
from tasks.formats import Accepted, Detection, Record, Reference, Rejected, coco, detect, read_items
from tasks.formats.images import ImageFolder, is_file
from tasks.formats.record import Refused
from tasks.scoring.answers import METRICS
from tasks.user_data.progress_line import Waiting
from tasks.user_data.raw_files import PLACE, RawTask
from tasks.user_data.split_assignment import survey
from tasks.user_data.splits import OUT

VERSION = 1
"""Of what the conversion makes of a file; another one makes everything anew."""


class Conversion:
    """One task being converted into a folder."""

    def __init__(self, task: RawTask, folder: Path) -> None:
        self.task, self.folder = task, folder
        self.files = {
            split: [detect(file, task.format) for file in files]
            for split, files in task.files.items()
        }
        _check_template(task, self.files)
        self.sources = [_source_entry(split, found) for split, found in self._each_file()]
        self.store = ImageStore(folder)
        self.writers = {split: ShardWriter(folder, split, TEXT_SCHEMA) for split in SPLITS}
        self.counts: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.image_files: dict[str, tuple[int, int]] = {}
        """Path -> size and time of the image files that were read, or failed; (-1, 0) where none is."""
        self._numbers: dict[str, int] = {}
        self._faults: dict[str, tuple[str, str]] = {}
        self._ids: dict[bytes, int] = {}

    def run(self) -> dict[str, Any]:
        """Convert everything; returns the manifest, which is written too."""
        splits = survey(self.task, self.files)
        with (self.folder / REJECTED).open("w", encoding="utf-8") as rejected:
            for split, found in self._each_file():
                self._file(split, found, splits, rejected)
        for before, (_, found) in zip(self.sources, self._each_file(), strict=True):
            stat = found.source.path.stat()
            if (before["bytes"], before["mtime_ns"]) != (stat.st_size, stat.st_mtime_ns):
                raise InputError(f"{found.source.path} has changed while it was converted")
        manifest = self._manifest()
        (self.folder / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        return manifest

    def _each_file(self) -> Iterator[tuple[str, Detection]]:
        return ((split, found) for split in self.files for found in self.files[split])

    def _file(
        self, split: str, found: Detection, splits: Iterator[str] | None, rejected: Any
    ) -> None:
        folder = ImageFolder(self.task.image_folder(found.source.path))
        with Waiting(f"converting {self.task.name} ({found.source.path.name})") as waiting:
            for item in read_items(found, waiting.told):
                if isinstance(item, Accepted):
                    into = next(splits, None) if splits else split
                    if into is None:
                        raise InputError(
                            f"{found.source.path} has changed while it was converted: run it again"
                        )
                    faults = self._group(item, into, found, folder)
                else:
                    faults = [item]
                self.counts["read"] += len(item.rows) if isinstance(item, Accepted) else 1
                for fault in faults:
                    self.counts["rejected"] += 1
                    self.reasons[fault.reason] += 1
                    line = {"split": split, "file": str(found.source.path)}
                    line |= dataclasses.asdict(fault)
                    rejected.write(json.dumps(line, ensure_ascii=False) + "\n")

    def _group(
        self, group: Accepted, split: str, found: Detection, folder: ImageFolder
    ) -> list[Rejected]:
        """Write the examples of a group, all or none; returns what is wrong with its rows."""
        if split == OUT:
            self.counts["left_out"] += len(group.rows)
            return []
        records = [asked for r in group.records for asked in self._examples(r, split, found)]
        try:
            for record in records:
                check_answer(record, self.task.metric)
            numbers = self._load({one: None for r in records for one in r.images}, folder)
        except Refused as fault:
            name = group.records[0].id
            return [Rejected(row, name, fault.reason, fault.detail) for row in group.rows]
        for record in records:
            images = [numbers[reference] for reference in record.images]
            record = dataclasses.replace(record, id=self._own_id(split, record.id))
            self.writers[split].add(text_row(record, images), text_size(record))
        self.counts["accepted"] += len(group.rows)
        return []

    def _examples(self, record: Record, split: str, found: Detection) -> list[Record]:
        """The record as it is asked; in train, one example for each of several captions."""
        asked = templated(record, self.task.prompt)
        if found.format != coco.NAME or split != "train":
            return [asked]
        return [
            dataclasses.replace(asked, id=f"{asked.id}-{n}", answer=one, answers=(one,))
            for n, one in enumerate(record.answers, start=1)
        ]

    def _load(self, wanted: Mapping[Reference, None], folder: ImageFolder) -> dict[Reference, int]:
        """The rows of the images in the image shards; none is written unless all are good."""
        known: dict[Reference, int] = {}
        new: dict[Reference, bytes] = {}
        for reference in wanted:
            path = _path(reference, folder)
            if path in self._numbers:
                known[reference] = self._numbers[path]
            else:
                new[reference] = self._good(reference, path, folder)
        for reference, image in new.items():
            known[reference] = self.store.add(image)
            if path := _path(reference, folder):
                self._numbers[path] = known[reference]
        return known

    def _good(self, reference: Reference, path: str | None, folder: ImageFolder) -> bytes:
        """The encoded image, which can be decoded; a fault of a file is found once."""
        if path in self._faults:
            raise Refused(*self._faults[path])
        try:
            image = folder.read(reference)
            if image not in self.store and (fault := decoding_fault(image)):
                raise Refused("image cannot be decoded", fault)
        except Refused as fault:
            if path is not None:
                self._faults[path] = (fault.reason, fault.detail)
                self.image_files[path] = file_state(path)
            raise
        if path is not None:
            self.image_files[path] = file_state(path)
        return image

    def _own_id(self, split: str, name: str) -> str:
        """The id, with a number if the split has it already: LLaVA's own data repeat theirs."""
        key = hashlib.sha256(f"{split} {name}".encode()).digest()[:10]
        self._ids[key] = count = self._ids.get(key, 0) + 1
        if count == 1:
            return name
        self.counts["repeated_ids"] += 1
        return self._own_id(split, f"{name}#{count}")

    def _manifest(self) -> dict[str, Any]:
        shards = {split: writer.close() for split, writer in self.writers.items()}
        shards[IMAGES] = self.store.close()
        return {
            "version": VERSION,
            "task": self.task.name,
            "settings": self.task.settings(),
            "sources": self.sources,
            "made_splits": list(self.task.made),
            "rows": {n: self.counts[n] for n in ("read", "accepted", "rejected", "left_out")},
            "reasons": dict(self.reasons.most_common()),
            "repeated_ids": self.counts["repeated_ids"],
            "examples": {split: self.writers[split].count for split in SPLITS},
            "images": len(self.store),
            "shards": shards,
        }


def file_state(path: str) -> tuple[int, int]:
    """Size and time of a file; (-1, 0) where there is none."""
    try:
        stat = os.stat(path)
    except (OSError, ValueError):  # also a name that can be none
        return -1, 0
    return stat.st_size, stat.st_mtime_ns


def _path(reference: Reference, folder: ImageFolder) -> str | None:
    """The file that a reference names; None if it is none, or one that must not be read."""
    with suppress(Refused):
        if isinstance(reference, str) and is_file(reference):
            return str(folder.path(reference))
    return None


def templated(record: Record, around: str) -> Record:
    """The record with a benchmark's template around its prompts."""
    return dataclasses.replace(
        record,
        prompt=around.replace(PLACE, record.prompt),
        history=tuple((around.replace(PLACE, p), a) for p, a in record.history),
    )


def check_answer(record: Record, metric: str) -> None:
    """Raise `Refused` for what the checks before a search would stop at."""
    if metric not in METRICS:
        if not record.prompt.replace(IMAGE, "").strip():
            raise Refused("empty prompt")
        return
    values = {"prompt": record.prompt, "answer": record.answer, "answers": list(record.answers)}
    for reason, detail in text_faults(values, METRICS[metric], RowRequirements()):
        raise Refused(reason, detail)


def _check_template(task: RawTask, files: Mapping[str, list[Detection]]) -> None:
    captions = all(f.format == coco.NAME for found in files.values() for f in found)
    if PLACE not in task.prompt and not captions:
        raise InputError(
            f"task {task.name}: prompt must have {PLACE} in it, for the row's own: got {task.prompt!r}"
        )


def _source_entry(split: str, found: Detection) -> dict[str, Any]:
    path = found.source.path
    stat = path.stat()
    return {
        "split": split,
        "file": str(path),
        "bytes": stat.st_size,
        "mtime_ns": stat.st_mtime_ns,
        "sha256": file_sha256(path),
        "format": found.format,
        "container": found.source.kind,
        "why": found.why,
    }
