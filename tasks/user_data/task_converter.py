"""Conversion of one task: its raw examples are checked and written into the shards of a folder.

Rows come in groups that are accepted or rejected as a whole, such as a conversation or an image's captions.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from spaces.errors import InputError
from spaces.files import file_sha256, write_atomically
from tasks.data.images import ImageInfo, inspect_image
from tasks.data.manifest import IMAGES, MANIFEST, REJECTED, Manifest, RowCounts, SourceFile
from tasks.data.row_report import RowRequirements, text_faults
from tasks.data.rows import IMAGE
from tasks.data.task import SPLITS
from tasks.formats import coco
from tasks.formats.detect import Detection, detect
from tasks.formats.images import ImageFolder, is_path
from tasks.formats.raw_example import Accepted, ImageReference, RawExample, Rejected, RowError
from tasks.formats.reader import read_items
from tasks.formats.values.boxes import with_boxes
from tasks.scoring.answers import ANSWER_METRICS
from tasks.user_data.progress_line import ProgressLine
from tasks.user_data.raw_task import PROMPT_MARK, RawTask, check_template
from tasks.user_data.shard_writer import (
    TEXT_SCHEMA,
    ImageShards,
    ShardWriter,
    text_row,
    text_size,
)
from tasks.user_data.split_assignment import assign_splits
from tasks.user_data.splits import LEFT_OUT

VERSION = 2
"""Version of the conversion; data converted by another version are converted again."""


class TaskConverter:
    """Converter of one task into a folder; `run` is called once."""

    def __init__(self, task: RawTask, folder: Path) -> None:
        self.task, self.folder = task, folder
        self.files = {
            split: [detect(file, task.format, split, task.columns) for file in files]
            for split, files in task.files.items()
        }
        detections = [one for several in self.files.values() for one in several]
        check_template(f"task {task.name}", task.prompt, detections)
        # Their state before the conversion: a file that changes during it is refused at the end.
        self.sources = [_source_file(split, detection) for split, detection in self._each_file()]
        self.images = ImageShards(folder)
        self.writers = {split: ShardWriter(folder, split, TEXT_SCHEMA) for split in SPLITS}
        self.counts: Counter[str] = Counter()
        """Rows by the fields of `RowCounts`, and `repeated_ids`."""
        self.reasons: Counter[str] = Counter()
        """Rejected rows by reason."""
        self.notes: Counter[str] = Counter()
        """Accepted rows by note, such as a key that is not used."""
        self.image_files: dict[str, tuple[int, int]] = {}
        """Path -> (bytes, mtime_ns) of each image file that was tried; (-1, 0) for a missing one."""
        self._image_rows: dict[str, int] = {}
        """Path -> row in the image shards."""
        self._image_faults: dict[str, tuple[str, str]] = {}
        """Path -> (reason, detail) of each image file that cannot be used."""
        self._id_counts: dict[bytes, int] = {}
        """Digest of (split, id) -> number of examples that have this id: digests take less memory."""

    def run(self) -> Manifest:
        """Convert all files, write the manifest and return it; raise `InputError` if a file has changed."""
        splits = assign_splits(self.task, self.files)
        with (self.folder / REJECTED).open("w", encoding="utf-8") as rejected:
            for split, detection in self._each_file():
                self._convert_file(split, detection, splits, rejected)
        for before, (_, detection) in zip(self.sources, self._each_file(), strict=True):
            stat = detection.source.path.stat()
            if (before.bytes, before.mtime_ns) != (stat.st_size, stat.st_mtime_ns):
                raise InputError(f"{detection.source.path} has changed while it was converted")
        manifest = self._manifest()
        write_atomically(self.folder / MANIFEST, json.dumps(manifest.to_values(), indent=1))
        return manifest

    def _each_file(self) -> Iterator[tuple[str, Detection]]:
        """Return (split, detection) of all files, always in the same order."""
        return ((split, detection) for split in self.files for detection in self.files[split])

    def _convert_file(
        self, split: str, detection: Detection, splits: Iterator[str] | None, rejected: TextIO
    ) -> None:
        """Convert one file: count its rows, and write the rejected ones to `rejected`.

        `splits` yields the split of each group where splits are made or limited; None keeps `split`.
        """
        path = detection.source.path
        folder = ImageFolder(self.task.image_folder(path))
        with ProgressLine(f"converting {self.task.name} ({path.name})") as progress:
            for item in read_items(detection, progress.report):
                if isinstance(item, Accepted):
                    target = next(splits, None) if splits else split
                    if target is None:
                        raise InputError(f"{path} has changed while it was converted: run it again")
                    faults = self._convert_group(item, target, detection, folder)
                else:
                    faults = [item]
                self.counts["read"] += len(item.rows) if isinstance(item, Accepted) else 1
                for fault in faults:
                    self.counts["rejected"] += 1
                    self.reasons[fault.reason] += 1
                    rejected.write(fault.to_line(split, path))

    def _convert_group(
        self, group: Accepted, split: str, detection: Detection, folder: ImageFolder
    ) -> list[Rejected]:
        """Write the examples of a group, all or none; return its rows as rejected, or nothing."""
        if split == LEFT_OUT:  # beyond the task's limit of examples
            self.counts["left_out"] += len(group.rows)
            return []
        examples = [
            asked
            for one in group.examples
            for asked in as_asked(within_template(one, self.task.prompt), split, detection.format)
        ]
        try:
            examples = [with_boxes(example, folder.read) for example in examples]
            for example in examples:
                check_answer(example, self.task.metric)
            rows = self._add_images({one: None for e in examples for one in e.images}, folder)
        except RowError as error:
            return group.rejected(error)
        for example in examples:
            images = [rows[reference] for reference in example.images]
            example = dataclasses.replace(example, id=self._unique_id(split, example.id))
            self.writers[split].add(text_row(example, images), text_size(example))
        self.counts["accepted"] += len(group.rows)
        self.notes.update(group.notes)
        return []

    def _add_images(
        self, references: Mapping[ImageReference, None], folder: ImageFolder
    ) -> dict[ImageReference, int]:
        """Return the images' rows in the image shards; write the new ones, or none if one is faulty."""
        rows: dict[ImageReference, int] = {}
        new: list[tuple[ImageReference, str | None, bytes, ImageInfo | None]] = []
        for reference in references:
            path = _path(reference, folder)
            if path in self._image_rows:
                rows[reference] = self._image_rows[path]
            else:
                new.append((reference, path, *self._read_image(reference, path, folder)))
        for reference, path, image, info in new:
            rows[reference] = self.images.add(image, info)
            if path is not None:
                self._image_rows[path] = rows[reference]
        return rows

    def _read_image(
        self, reference: ImageReference, path: str | None, folder: ImageFolder
    ) -> tuple[bytes, ImageInfo | None]:
        """Return an encoded image and its description, None for one that is in the shards already.

        Raises `RowError` if it cannot be read or decoded. A faulty file is tried once.
        """
        if path is None:
            return self._inspected(folder.read(reference))
        if path in self._image_faults:
            raise RowError(*self._image_faults[path])
        try:
            image = self._inspected(folder.contents(path, str(reference)))
        except RowError as error:
            self._image_faults[path] = (error.reason, error.detail)
            raise
        finally:
            self.image_files[path] = file_state(path)
        return image

    def _inspected(self, image: bytes) -> tuple[bytes, ImageInfo | None]:
        """Return an image with its description; raise `RowError` if it cannot be decoded."""
        info = None if image in self.images else inspect_image(image)
        if isinstance(info, str):
            raise RowError("image cannot be decoded", info)
        return image, info

    def _unique_id(self, split: str, name: str) -> str:
        """Return the id, with a number added if the split has it already.

        Published data repeat ids, LLaVA's among them.
        """
        key = hashlib.sha256(f"{split} {name}".encode()).digest()[:10]
        self._id_counts[key] = count = self._id_counts.get(key, 0) + 1
        if count == 1:
            return name
        self.counts["repeated_ids"] += 1
        return self._unique_id(split, f"{name}#{count}")

    def _manifest(self) -> Manifest:
        """Close the shards and return their manifest."""
        shards = {split: writer.close() for split, writer in self.writers.items()}
        shards[IMAGES] = self.images.close()
        return Manifest(
            version=VERSION,
            task=self.task.name,
            settings=self.task.settings(),
            sources=tuple(self.sources),
            made_splits=self.task.made_splits,
            rows=RowCounts(**{name: self.counts[name] for name in RowCounts.model_fields}),
            reasons=dict(self.reasons.most_common()),
            notes=dict(self.notes.most_common()),
            repeated_ids=self.counts["repeated_ids"],
            examples={split: self.writers[split].count for split in SPLITS},
            images=len(self.images),
            shards=shards,
        )


def file_state(path: str) -> tuple[int, int]:
    """Return (bytes, mtime_ns) of a file; (-1, 0) if it is missing."""
    try:
        stat = os.stat(path)
    except (OSError, ValueError):  # also a text that cannot name a file
        return -1, 0
    return stat.st_size, stat.st_mtime_ns


def _path(reference: ImageReference, folder: ImageFolder) -> str | None:
    """Return the file that a reference names; None if it names none, or one that must not be read."""
    with suppress(RowError):
        if isinstance(reference, str) and is_path(reference):
            return folder.path(reference)
    return None


def as_asked(example: RawExample, split: str, form: str) -> list[RawExample]:
    """Return the example; in train, an image with several captions gives one for each."""
    if form != coco.NAME or split != "train":
        return [example]
    return [
        dataclasses.replace(example, id=f"{example.id}-{n}", answer=one, answers=(one,))
        for n, one in enumerate(example.answers, start=1)
    ]


def within_template(example: RawExample, template: str) -> RawExample:
    """Put a benchmark's template around an example's prompts."""
    return dataclasses.replace(
        example,
        prompt=template.replace(PROMPT_MARK, example.prompt),
        history=tuple((template.replace(PROMPT_MARK, p), a) for p, a in example.history),
    )


def check_answer(example: RawExample, metric: str) -> None:
    """Raise `RowError` if the check of all rows, which a search begins with, would refuse the texts."""
    if metric not in ANSWER_METRICS:  # none was named, so any answer will do
        if not example.prompt.replace(IMAGE, "").strip():
            raise RowError("empty prompt")
        return
    values = {"prompt": example.prompt, "answer": example.answer, "answers": list(example.answers)}
    for reason, detail in text_faults(values, ANSWER_METRICS[metric], RowRequirements()):
        raise RowError(reason, detail)


def _source_file(split: str, detection: Detection) -> SourceFile:
    path = detection.source.path
    stat = path.stat()
    return SourceFile(
        split=split,
        file=str(path),
        bytes=stat.st_size,
        mtime_ns=stat.st_mtime_ns,
        sha256=file_sha256(path),
        format=detection.format,
        container=detection.source.kind,
        why=detection.why,
    )
