"""Check of every row of a benchmark before any worker starts; all faults are reported at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from spaces.errors import InputError
from tasks.data.benchmark import Benchmark
from tasks.data.placeholders import token_fault
from tasks.data.rows import IMAGE, image_bytes, read_tables, row_id
from tasks.data.survey import TaskSurvey
from tasks.data.task import SPLITS, Task
from tasks.scoring.answers import ANSWER_METRICS, Metric

CHUNK = 256
"""Rows whose images are Python objects at the same time."""


@dataclass(frozen=True)
class RowRequirements:
    """Requirements of the model, and of the parts that are trained, on every row."""

    image: str = ""
    """Part of the search that needs an image with every question; empty if none does."""
    reserved: str | None = None
    """Token of the image, which the model's own template puts into the prompt."""
    several_images: bool = True
    """True: a question may have more than one image."""
    tokens: bool = True
    """True: texts may hold control tokens; the model would take them for its own or train them."""


@dataclass(frozen=True)
class BrokenRow:
    """One fault of a row (counted from 0), or of a whole file: then `row` is None."""

    task: str
    split: str
    row: int | None
    id: str
    reason: str
    detail: str = ""

    def __str__(self) -> str:
        place = f"{self.task}/{self.split}"
        where = place if self.row is None else f"{place} row {self.row} (id {self.id})"
        return f"{where}: {self.reason}" + (f" ({self.detail})" if self.detail else "")


@dataclass(frozen=True)
class RowReport:
    """Number of rows that `check_rows` checked, and every fault."""

    checked: int
    broken: tuple[BrokenRow, ...]
    notes: tuple[str, ...] = ()
    """Notes about splits that share examples, are tiny, or cannot be answered."""

    def __str__(self) -> str:
        """Count the broken rows, in all and by reason."""
        rows = len({(fault.task, fault.split, fault.row) for fault in self._of_rows()})
        kinds = Counter(fault.reason for fault in self.broken if fault.row is not None)
        text = f"{rows} of {self.checked} rows are broken"
        text += ": " + ", ".join(f"{n} {why}" for why, n in kinds.most_common()) if kinds else ""
        files = {(fault.task, fault.split) for fault in self.broken if fault.row is None}
        return text + (f"; files that cannot be used: {len(files)}" if files else "")

    def raise_if_broken(self) -> None:
        """Raise one `InputError` with every broken row and its reason, then the counts."""
        if self.broken:
            raise InputError("\n".join([*map(str, self.broken), str(self)]))

    def _of_rows(self) -> Iterator[BrokenRow]:
        return (fault for fault in self.broken if fault.row is not None)


def check_rows(
    benchmark: Benchmark,
    tasks: Iterable[str] | None = None,
    splits: Iterable[str] = SPLITS,
    requirements: RowRequirements = RowRequirements(),  # it is frozen
    known: Path | None = None,
) -> RowReport:
    """Check that images decode, texts are there, the metric can score every answer, and ids differ.

    Pictures without a fault are noted in the folder `known`, and not decoded again.
    """
    checked, broken, notes, splits = 0, [], [], tuple(splits)
    for name in benchmark.tasks if tasks is None else tasks:
        task = benchmark.task(name)
        survey = TaskSurvey(task, known)
        for split in splits:
            rows, faults = _check_file(task, split, requirements, survey)
            checked += rows
            broken += faults
        survey.save(any(fault.task == name for fault in broken))
        notes += survey.notes()
    return RowReport(checked, tuple(broken), tuple(notes))


def _check_file(
    task: Task, split: str, requirements: RowRequirements, survey: TaskSurvey
) -> tuple[int, list[BrokenRow]]:
    files = task.split_files(split)
    try:
        table = read_tables(files)
        table.validate(full=True)  # raises for invalid UTF-8
        shared = "images" in table.column_names
        if shared:
            survey.open_shared()
    except (InputError, pa.ArrowException) as error:
        return 0, [BrokenRow(task.name, split, None, "", str(error))]
    if not table.num_rows:
        return 0, [BrokenRow(task.name, split, None, "", "holds no rows")]
    metric, ids, faults = ANSWER_METRICS[task.metric], set(), []
    for row, values in enumerate(_values(table)):
        name = row_id(values, split, row)
        texts = [*text_faults(values, metric, requirements), *_mark_faults(values, requirements)]
        found = [*texts, *_image_faults(values, requirements, survey)]
        found += [("id is not unique", "")] if name in ids else []
        ids.add(name)
        if not texts:
            survey.add_texts(split, values)
        faults += [BrokenRow(task.name, split, row, name, *fault) for fault in found]
    return table.num_rows, faults


def _values(table: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches(max_chunksize=CHUNK):
        yield from batch.to_pylist()


def text_faults(
    values: dict[str, Any], metric: Metric, requirements: RowRequirements
) -> Iterator[tuple[str, str]]:
    """Yield (reason, detail) of each fault of prompt, answer and answers."""
    turns = values.get("history") or ()
    prompts = [*(turn["prompt"] for turn in turns), values["prompt"] or ""]
    if not (values["prompt"] or "").replace(IMAGE, "").strip():
        yield "empty prompt", ""
    if not (values["answer"] or "").strip():
        yield "empty answer", ""
    given_answers = [*(turn["answer"] for turn in turns), values["answer"] or ""]
    texts = {"prompt": [p.replace(IMAGE, "") for p in prompts], "answer": given_answers}
    texts["system"] = [values.get("system") or ""]
    for name, found in texts.items():
        if requirements.reserved and any(requirements.reserved in text for text in found):
            yield f"{name} holds {requirements.reserved}, which the model puts there itself", ""
        elif not requirements.tokens:
            faults = (token_fault(text, prompt=name == "prompt") for text in found)
            yield from [fault for fault in faults if fault][:1]
    answer, answers = values["answer"] or "", values.get("answers")
    if not answer.strip():
        return
    plain = metric.normalise(answer)
    if not plain:
        yield f"nothing of the answer is left for {metric.name}", repr(answer)
    elif answers and any(not isinstance(one, str) for one in answers):
        yield "null among answers", ""
    elif answers and not all(map(metric.normalise, answers)):
        yield f"nothing of one of the answers is left for {metric.name}", repr(answers)
    elif answers and plain not in map(metric.normalise, answers):
        yield "answer is not among answers", f"{answer!r} is not in {answers}"


def _image_count(values: dict[str, Any]) -> int:
    if "images" in values:
        return len(values["images"] or ())
    cell = values.get("image")
    return int(image_bytes(cell) is not None or bool(isinstance(cell, dict) and cell.get("path")))


def _mark_faults(
    values: dict[str, Any], requirements: RowRequirements
) -> Iterator[tuple[str, str]]:
    """Yield (reason, detail) of each mismatch between images and their marks in the prompts."""
    turns = values.get("history") or ()
    prompts = [*(turn["prompt"] for turn in turns), values["prompt"] or ""]
    images, marks = _image_count(values), sum(prompt.count(IMAGE) for prompt in prompts)
    if marks not in (0, images):
        yield f"number of {IMAGE} marks differs from images", f"{marks} marks, {images} images"
    if images > 1 and not requirements.several_images:
        yield "several images, and the model takes one", f"{images} images"


def _image_faults(
    values: dict[str, Any], requirements: RowRequirements, survey: TaskSurvey
) -> Iterator[tuple[str, str]]:
    """Yield (reason, detail) of each faulty image; a row without an image is text only."""
    cell = values.get("image")
    image = image_bytes(cell)
    if "images" in values:
        for number in values["images"] or ():
            if fault := survey.shared_fault(number):
                yield "image cannot be decoded", fault
        image = values["images"]
    elif isinstance(cell, dict) and image is None and cell.get("path"):
        yield "image has a path but no bytes", str(cell["path"])
        return
    elif image is not None and (fault := survey.fault(image)):
        yield "image cannot be decoded", fault
    if not image and image != b"" and requirements.image:
        yield f"no image, and one is needed by {requirements.image}", ""
