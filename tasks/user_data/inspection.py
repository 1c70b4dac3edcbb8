"""Inspection of a user's data file in one pass: counts, rejected rows with reasons, statistics."""

from __future__ import annotations

import hashlib
import statistics
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tasks.data.images import ImageInfo, inspect_image
from tasks.formats.containers.opening import split_keys
from tasks.formats.detect import Detection, detect
from tasks.formats.images import ImageFolder, is_path
from tasks.formats.raw_example import Accepted, RawExample, Rejected, RowError
from tasks.formats.reader import read_items
from tasks.formats.values.boxes import with_boxes
from tasks.formats.values.columns import Columns
from tasks.formats.values.noted_row import note_lines
from tasks.user_data.progress_line import ProgressLine
from tasks.user_data.raw_task import PROMPT_MARK, check_template
from tasks.user_data.split_survey import SplitSurvey
from tasks.user_data.task_converter import check_answer, within_template

SAMPLES = 6
"""Examples of a file that are kept for the page."""
ANSWER_LENGTH = 60
"""Characters of an answer that are kept to count it."""

CountTokens = Callable[[str], int]
"""Function that returns the number of tokens of a text."""


@dataclass
class Distribution:
    """Minimum, median and maximum of some numbers."""

    name: str
    values: array[int] = field(default_factory=lambda: array("q"))

    def __str__(self) -> str:
        if not self.values:
            return f"{self.name}: none"
        middle = statistics.median(self.values)
        return f"{self.name}: {min(self.values)} / {middle:g} / {max(self.values)}"


class Inspection:
    """Inspection of one file of one split."""

    def __init__(
        self,
        detection: Detection,
        split: str,
        images: Path,
        count_tokens: CountTokens | None,
        metric: str = "",
        template: str = PROMPT_MARK,
        survey: SplitSurvey | None = None,
    ) -> None:
        self.detection, self.split = detection, split
        self.survey = survey
        """Collector of what the splits of the file's task share."""
        self.count_tokens, self.metric = count_tokens, metric
        self.template = template
        """Text that a benchmark puts around each prompt."""
        self.folder = ImageFolder(images)
        self.read = self.accepted = self.examples = 0
        self.reasons: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()
        self.modes: Counter[str] = Counter()
        self.remarks: Counter[str] = Counter()
        """Rules that change pictures on their way to the model, by the pictures that they change."""
        self.duplicates = self.repeated_ids = self.references = 0
        self.turns = Distribution("turns")
        self.lengths = {
            f"{what} {unit}": Distribution(f"{what} {unit}")
            for what in ("prompt", "answer")
            for unit in ("words", "characters", *(["tokens"] if count_tokens else []))
        }
        self.sizes = {name: Distribution(name) for name in ("width", "height", "bytes")}
        self.samples: list[tuple[RawExample, tuple[bytes, ...]]] = []
        self._images: dict[bytes, ImageInfo | str] = {}
        self._files: dict[str, bytes | RowError] = {}
        self._example_hashes: set[bytes] = set()
        self._id_hashes: set[bytes] = set()
        self._answer_hashes: set[bytes] = set()

    @property
    def path(self) -> Path:
        """File that is inspected."""
        return self.detection.source.path

    @property
    def images(self) -> int:
        """Number of distinct images."""
        return sum(isinstance(image, ImageInfo) for image in self._images.values())

    def run(self, keep: Callable[[Rejected], None], limit: int | None) -> None:
        """Inspect every row, or the first `limit`; call `keep` for every rejected one."""
        with ProgressLine(f"reading {self.path.name}") as progress:
            for item in read_items(self.detection, progress.report):
                if limit is not None and self.read >= limit:
                    return
                for fault in self._inspect(item):
                    self.reasons[fault.reason] += 1
                    keep(fault)

    def _inspect(self, item: Accepted | Rejected) -> Sequence[Rejected]:
        if isinstance(item, Rejected):
            self.read += 1
            return [item]
        self.read += len(item.rows)
        target = self.survey.target(self.split.rpartition("/")[2]) if self.survey else ""
        references = {image: None for example in item.examples for image in example.images}
        try:
            examples = [with_boxes(example, self.folder.read) for example in item.examples]
            for example in examples:
                check_answer(within_template(example, self.template), self.metric)
            hashes = {reference: self._image_hash(reference) for reference in references}
        except RowError as error:
            return item.rejected(error)
        self.accepted += len(item.rows)
        self.notes.update(item.notes)
        for example in examples:
            pictures = [hashes[reference] for reference in example.images]
            self._count(example, pictures)
            if self.survey:
                self.survey.add(target, example, self.detection.format, pictures)
        return []

    def _image_hash(self, reference: str | bytes) -> bytes:
        """Return the SHA-256 of a good image, else raise `RowError`; a file is read once."""
        key = reference if isinstance(reference, str) and is_path(reference) else None
        known = self._files.get(key) if key else None
        if isinstance(known, RowError):
            raise RowError(known.reason, known.detail)
        if known is None:
            known = self._read_image(reference, key)
        return known

    def _read_image(self, reference: str | bytes, key: str | None) -> bytes:
        try:
            image = self.folder.read(reference)
            digest = hashlib.sha256(image).digest()
            if digest not in self._images:
                self._images[digest] = inspect_image(image)
                self._measure(self._images[digest], len(image))
            if isinstance(fault := self._images[digest], str):
                raise RowError("image cannot be decoded", fault)
        except RowError as error:
            if key:
                self._files[key] = error
            raise
        if key:
            self._files[key] = digest
        return digest

    def _measure(self, image: ImageInfo | str, size: int) -> None:
        if isinstance(image, ImageInfo):
            for name, value in zip(self.sizes, (image.width, image.height, size), strict=True):
                self.sizes[name].values.append(value)
            self.modes[f"{image.format} {image.mode}"] += 1
            self.remarks.update(image.remarks())

    def _count(self, example: RawExample, images: list[bytes]) -> None:
        self.examples += 1
        self.references += len(images)
        self.answers[example.answer[:ANSWER_LENGTH]] += 1
        self._answer_hashes.add(hashlib.blake2b(example.answer.encode(), digest_size=8).digest())
        self.turns.values.append(len(example.history) + 1)
        for what, text in (("prompt", example.prompt), ("answer", example.answer)):
            self.lengths[f"{what} words"].values.append(len(text.split()))
            self.lengths[f"{what} characters"].values.append(len(text))
            if self.count_tokens:
                self.lengths[f"{what} tokens"].values.append(self.count_tokens(text))
        texts = repr((example.system, example.history, example.prompt, example.answer)).encode()
        self.duplicates += not _add(self._example_hashes, texts + b"".join(images))
        self.repeated_ids += not _add(self._id_hashes, example.id.encode())
        if len(self.samples) < SAMPLES:
            sample = tuple(self.folder.read(reference) for reference in example.images)
            self.samples.append((example, sample))

    def lines(self) -> list[str]:
        """Return the report, line by line."""
        counts = f"{self.read} read, {self.accepted} accepted, {self.read - self.accepted} rejected"
        lines = [
            f"{self.path}",
            f"  format      {self.detection.format}: {self.detection}",
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
                *(f"  pictures    {count} {text}" for text, count in sorted(self.remarks.items())),
            ]
        common = [f"{answer[:40]!r} {count}" for answer, count in self.answers.most_common(5)]
        distinct = len(self._answer_hashes)
        lines.append(f"  answers     {distinct} distinct; most common: {', '.join(common)}")
        lines.append(f"  repeated    {self.duplicates} examples, {self.repeated_ids} ids")
        return lines + [f"  {line}" for line in note_lines(self.notes)]


def _add(hashes: set[bytes], content: bytes) -> bool:
    """Add the hash of some content; return whether it is new."""
    before = len(hashes)
    hashes.add(hashlib.sha256(content).digest()[:12])
    return len(hashes) > before


def inspect_file(
    file: Path,
    split: str,
    images: Path | None = None,
    format: str | None = None,
    count_tokens: CountTokens | None = None,
    metric: str = "",
    template: str = PROMPT_MARK,
    columns: Columns | None = None,
    survey: SplitSurvey | None = None,
) -> Inspection:
    """Make the inspection of a file; raise `InputError` if the file is in no known format."""
    folder = images or file.parent
    part = split.rpartition("/")[2] if split_keys(file) else None
    detection = detect(file, format, part, columns)
    check_template(str(file), template, [detection])
    return Inspection(detection, split, folder, count_tokens, metric, template, survey)
