"""A first look over raw data, where splits or limits hang on all of them: the split of every group."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator, Mapping, Sequence

from tasks.formats import Accepted, Detection, Record, Reference, coco, read_items
from tasks.formats.images import ImageFolder, is_file
from tasks.formats.record import Refused
from tasks.user_data.progress_line import Waiting
from tasks.user_data.raw_files import RawTask
from tasks.user_data.splits import Places, SplitRule, limited, place, split_places


def survey(task: RawTask, files: Mapping[str, Sequence[Detection]]) -> Iterator[str] | None:
    """The split of every accepted group, in the order of the files; None if their file says it all."""
    if not task.made and not task.limit:
        return None
    seed = task.rule.seed if task.rule else 0
    places, sizes, draws = Places(), array("q"), array("d")
    captions, given = array("q"), []
    for split, one_split in files.items():
        for found in one_split:
            reader = _Reader(task, seed, split == "train" and bool(task.made))
            for group in _groups(found, task.name):
                places.add(reader.places(group, found))
                first = group.records[0]
                draws.append(place(seed, "limit", first.id, first.prompt, first.answer))
                sizes.append(len(group.records))
                captions.append(len(first.answers) if found.format == coco.NAME else 0)
                given.append(split)
    return iter(_splits(task, given, places, sizes, captions, draws))


def _splits(
    task: RawTask,
    given: list[str],
    places: Places,
    sizes: Sequence[int],
    captions: Sequence[int],
    draws: Sequence[float],
) -> list[str]:
    train = [n for n, split in enumerate(given) if split == "train"]
    if task.made:
        where, rule = places.all(), task.rule or SplitRule()
        made = split_places([where[n] for n in train], [sizes[n] for n in train], rule, task.made)
        for n, split in zip(train, made, strict=True):
            given[n] = split
    counted = [
        captions[n] or sizes[n] if split == "train" else sizes[n] for n, split in enumerate(given)
    ]
    return limited(given, counted, draws, task.limit or {})


def _groups(found: Detection, name: str) -> Iterator[Accepted]:
    with Waiting(f"surveying {name} ({found.source.path.name})") as waiting:
        for item in read_items(found, waiting.told):
            if isinstance(item, Accepted):
                yield item


class _Reader:
    """Places of groups; a file that several rows name is read once."""

    def __init__(self, task: RawTask, seed: int, by_image: bool) -> None:
        self.task, self.seed, self.by_image = task, seed, by_image
        self._known: dict[str, float | None] = {}

    def places(self, group: Accepted, found: Detection) -> list[float]:
        if not self.by_image:
            return [0.0]
        folder = ImageFolder(self.task.image_folder(found.source.path))
        references = {image: None for record in group.records for image in record.images}
        places = [self._place(reference, folder) for reference in references]
        return [p for p in places if p is not None] or [_text_place(self.seed, group)]

    def _place(self, reference: Reference, folder: ImageFolder) -> float | None:
        """The place of an image's content; None if it cannot be read, which the conversion will say."""
        key = reference if isinstance(reference, str) and is_file(reference) else None
        if key is not None and key in self._known:
            return self._known[key]
        try:
            found = place(self.seed, "image", hashlib.sha256(folder.read(reference)).hexdigest())
        except Refused:
            found = None
        if key is not None:
            self._known[key] = found
        return found


def _text_place(seed: int, group: Accepted) -> float:
    """By what is asked alone: one question under two ids must not lie in two splits."""
    first: Record = group.records[0]
    return place(seed, "text", first.system, str(first.history), first.prompt)
