"""First pass over raw data, where splits or limits depend on all of them: the split of every group."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator, Mapping, Sequence

from tasks.formats import coco
from tasks.formats.detect import Detection
from tasks.formats.images import ImageFolder, is_path
from tasks.formats.raw_example import Accepted, ImageReference, RowError
from tasks.formats.reader import read_items
from tasks.user_data.progress_line import ProgressLine
from tasks.user_data.raw_task import RawTask
from tasks.user_data.splits import (
    GroupPositions,
    SplitRule,
    apply_limits,
    hash_position,
    split_positions,
)


def assign_splits(task: RawTask, files: Mapping[str, Sequence[Detection]]) -> Iterator[str] | None:
    """Return the split of every accepted group in the files' order; None if each file names its own."""
    if not task.made_splits and not task.limit:
        return None
    seed = task.rule.seed if task.rule else 0
    positions, sizes, draws = GroupPositions(), array("q"), array("d")
    captions, splits = array("q"), []
    for split, detections in files.items():
        for detection in detections:
            reader = _PositionReader(task, seed, split == "train" and bool(task.made_splits))
            for group in _groups(detection, task.name):
                positions.add(reader.positions(group, detection))
                first = group.examples[0]
                draws.append(hash_position(seed, "limit", first.id, first.prompt, first.answer))
                sizes.append(len(group.examples))
                captions.append(len(first.answers) if detection.format == coco.NAME else 0)
                splits.append(split)
    return iter(_splits(task, splits, positions, sizes, captions, draws))


def _splits(
    task: RawTask,
    splits: list[str],
    positions: GroupPositions,
    sizes: Sequence[int],
    captions: Sequence[int],
    draws: Sequence[float],
) -> list[str]:
    train = [n for n, split in enumerate(splits) if split == "train"]
    if task.made_splits:
        all_positions, rule = positions.all(), task.rule or SplitRule()
        made = split_positions(
            [all_positions[n] for n in train], [sizes[n] for n in train], rule, task.made_splits
        )
        for n, split in zip(train, made, strict=True):
            splits[n] = split
    counted = [
        captions[n] or sizes[n] if split == "train" else sizes[n] for n, split in enumerate(splits)
    ]
    return apply_limits(splits, counted, draws, task.limit or {})


def _groups(detection: Detection, name: str) -> Iterator[Accepted]:
    with ProgressLine(f"surveying {name} ({detection.source.path.name})") as progress:
        for item in read_items(detection, progress.report):
            if isinstance(item, Accepted):
                yield item


class _PositionReader:
    """Reader of groups' positions; a file that several rows name is read once."""

    def __init__(self, task: RawTask, seed: int, by_image: bool) -> None:
        self.task, self.seed, self.by_image = task, seed, by_image
        self._by_file: dict[str, float | None] = {}

    def positions(self, group: Accepted, detection: Detection) -> list[float]:
        """Return the positions of a group's images, or of its text if it has none."""
        if not self.by_image:
            return [0.0]
        folder = ImageFolder(self.task.image_folder(detection.source.path))
        references = {image: None for example in group.examples for image in example.images}
        positions = [self._image_position(reference, folder) for reference in references]
        return [p for p in positions if p is not None] or [_text_position(self.seed, group)]

    def _image_position(self, reference: ImageReference, folder: ImageFolder) -> float | None:
        """Return the position of an image's content; None if it cannot be read.

        The conversion will report the fault.
        """
        key = reference if isinstance(reference, str) and is_path(reference) else None
        if key is not None and key in self._by_file:
            return self._by_file[key]
        try:
            content = hashlib.sha256(folder.read(reference)).hexdigest()
            position = hash_position(self.seed, "image", content)
        except RowError:
            position = None
        if key is not None:
            self._by_file[key] = position
        return position


def _text_position(seed: int, group: Accepted) -> float:
    """Return the position of what is asked: a question under two ids must not lie in two splits."""
    first = group.examples[0]
    return hash_position(seed, "text", first.system, str(first.history), first.prompt)
