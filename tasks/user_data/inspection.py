"""What is in a user's data file: counts, rejected rows with reasons, and statistics, in one pass."""

from __future__ import annotations

import hashlib
import statistics
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tasks.data.images import Picture, look
from tasks.formats import Accepted, Detection, Record, Rejected, detect, read_items
from tasks.formats.images import ImageFolder, is_file
from tasks.formats.record import Refused
from tasks.user_data.progress_line import Waiting
from tasks.user_data.raw_files import PLACE
from tasks.user_data.task_converter import check_answer, templated

SAMPLES = 6
"""Examples of a file that are kept for the page."""
ANSWER_LENGTH = 60
"""Characters of an answer that are kept to count it."""

Tokens = Callable[[str], int]


@dataclass
class Numbers:
    """Minimum, median and maximum of something."""

    name: str
    values: array[int] = field(default_factory=lambda: array("q"))

    def __str__(self) -> str:
        if not self.values:
            return f"{self.name}: none"
        middle = statistics.median(self.values)
        return f"{self.name}: {min(self.values)} / {middle:g} / {max(self.values)}"


class Inspection:
    """One file of one split, looked through."""

    def __init__(
        self,
        found: Detection,
        split: str,
        images: Path,
        tokens: Tokens | None,
        metric: str = "",
        around: str = PLACE,
    ) -> None:
        self.around = around
        """The template that a benchmark puts around each prompt."""
        self.found, self.split, self.tokens, self.metric = found, split, tokens, metric
        self.folder = ImageFolder(images)
        self.read = self.accepted = self.examples = 0
        self.rejected: list[Rejected] = []
        self.reasons: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()
        self.modes: Counter[str] = Counter()
        self.duplicates = self.repeated_ids = self.references = 0
        self.turns = Numbers("turns")
        self.lengths = {
            f"{what} {unit}": Numbers(f"{what} {unit}")
            for what in ("prompt", "answer")
            for unit in ("words", "characters", *(["tokens"] if tokens else []))
        }
        self.sizes = {name: Numbers(name) for name in ("width", "height", "bytes")}
        self.samples: list[tuple[Record, tuple[bytes, ...]]] = []
        self._pictures: dict[bytes, Picture | str] = {}
        self._files: dict[str, bytes | Refused] = {}
        self._examples: set[bytes] = set()
        self._ids: set[bytes] = set()
        self._answers: set[bytes] = set()

    @property
    def images(self) -> int:
        """Distinct images."""
        return sum(isinstance(picture, Picture) for picture in self._pictures.values())

    def run(self, keep: Callable[[Rejected], None], limit: int | None) -> None:
        """Look at every row, or at the first `limit`; `keep` hears of every rejected one."""
        with Waiting(f"reading {self.found.source.path.name}") as waiting:
            for item in read_items(self.found, waiting.told):
                if limit is not None and self.read >= limit:
                    return
                for fault in self._look(item):
                    self.reasons[fault.reason] += 1
                    keep(fault)

    def _look(self, item: Accepted | Rejected) -> Sequence[Rejected]:
        if isinstance(item, Rejected):
            self.read += 1
            return [item]
        self.read += len(item.rows)
        wanted = {image: None for record in item.records for image in record.images}
        try:
            for record in item.records:
                check_answer(templated(record, self.around), self.metric)
            loaded = {reference: self._image(reference) for reference in wanted}
        except Refused as fault:
            name = item.records[0].id
            return [Rejected(row, name, fault.reason, fault.detail) for row in item.rows]
        self.accepted += len(item.rows)
        for record in item.records:
            self._count(record, [loaded[reference] for reference in record.images])
        return []

    def _image(self, reference: str | bytes) -> bytes:
        """Sha256 of a good image; raises `Refused`. A file is read once."""
        key = reference if isinstance(reference, str) and is_file(reference) else None
        known = self._files.get(key) if key else None
        if isinstance(known, Refused):
            raise Refused(known.reason, known.detail)
        if known is None:
            known = self._new_image(reference, key)
        return known

    def _new_image(self, reference: str | bytes, key: str | None) -> bytes:
        try:
            image = self.folder.read(reference)
            name = hashlib.sha256(image).digest()
            if name not in self._pictures:
                self._pictures[name] = look(image)
                self._measure(self._pictures[name], len(image))
            if isinstance(fault := self._pictures[name], str):
                raise Refused("image cannot be decoded", fault)
        except Refused as refused:
            if key:
                self._files[key] = refused
            raise
        if key:
            self._files[key] = name
        return name

    def _measure(self, picture: Picture | str, size: int) -> None:
        if isinstance(picture, Picture):
            for name, value in zip(self.sizes, (picture.width, picture.height, size), strict=True):
                self.sizes[name].values.append(value)
            self.modes[f"{picture.format} {picture.mode}"] += 1

    def _count(self, record: Record, images: list[bytes]) -> None:
        self.examples += 1
        self.references += len(images)
        self.answers[record.answer[:ANSWER_LENGTH]] += 1
        self._answers.add(hashlib.blake2b(record.answer.encode(), digest_size=8).digest())
        self.turns.values.append(len(record.history) + 1)
        for what, text in (("prompt", record.prompt), ("answer", record.answer)):
            self.lengths[f"{what} words"].values.append(len(text.split()))
            self.lengths[f"{what} characters"].values.append(len(text))
            if self.tokens:
                self.lengths[f"{what} tokens"].values.append(self.tokens(text))
        said = repr((record.system, record.history, record.prompt, record.answer)).encode()
        self.duplicates += not _new(self._examples, said + b"".join(images))
        self.repeated_ids += not _new(self._ids, record.id.encode())
        if len(self.samples) < SAMPLES:
            shown = tuple(self.folder.read(reference) for reference in record.images)
            self.samples.append((record, shown))

    def lines(self) -> list[str]:
        """The report, line by line."""
        counts = f"{self.read} read, {self.accepted} accepted, {self.read - self.accepted} rejected"
        lines = [
            f"{self.found.source.path}",
            f"  format      {self.found.format}: {self.found}",
            f"  split       {self.split}",
            f"  rows        {counts}; {self.examples} examples",
            f"  {self.turns}",
            *(f"  {numbers}" for numbers in self.lengths.values()),
            f"  images      {self.references} in examples, {self.images} distinct",
        ]
        if self.images:
            modes = ", ".join(f"{mode} {count}" for mode, count in self.modes.most_common(6))
            lines += [
                *(f"  image {numbers}" for numbers in self.sizes.values()),
                f"  modes: {modes}",
            ]
        common = [f"{answer[:40]!r} {count}" for answer, count in self.answers.most_common(5)]
        lines.append(
            f"  answers     {len(self._answers)} distinct; most common: {', '.join(common)}"
        )
        lines.append(f"  repeated    {self.duplicates} examples, {self.repeated_ids} ids")
        return lines


def _new(seen: set[bytes], what: bytes) -> bool:
    """Whether it was not seen before."""
    key, before = hashlib.sha256(what).digest()[:12], len(seen)
    seen.add(key)
    return len(seen) > before


def inspect(
    file: Path,
    split: str,
    images: Path | None = None,
    format: str | None = None,
    tokens: Tokens | None = None,
    metric: str = "",
    around: str = PLACE,
) -> Inspection:
    """An inspection of a file that has not begun; `InputError` if the file is in no known format."""
    return Inspection(detect(file, format), split, images or file.parent, tokens, metric, around)
