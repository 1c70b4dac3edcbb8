"""Survey of one task in the pass that checks its rows: faults of pictures, and what splits share."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from spaces.errors import InputError
from spaces.files import write_atomically
from spaces.records import NamedRecord
from tasks.data.images import decoding_fault
from tasks.data.rows import are_described, read_images
from tasks.data.split_notes import SplitTexts, short_hash
from tasks.data.task import Task
from tasks.scoring.answers import ANSWER_METRICS

RULES = 1
"""Version of the rules in `pictures`; another one decodes all pictures again."""


class PictureNote(NamedRecord):
    """Note that all pictures of some data can be decoded."""

    TITLE: ClassVar[str] = "note of good pictures"
    SCHEMA: ClassVar[int] = 2

    rules: int
    """Version of the rules by which pictures are decoded."""


class TaskSurvey:
    """Collector of a task's pictures and texts while its rows are checked."""

    def __init__(self, task: Task, known: Path | None) -> None:
        self.task = task
        self._shared: pa.ChunkedArray | None = None
        self._described = False
        self._faults: dict[int, str | None] = {}
        self._note = _note_file(task, known)
        self._known = _read_note(self._note)
        metric = ANSWER_METRICS[task.metric] if task.closed else None
        self._texts = SplitTexts(task.name, metric)

    def open_shared(self) -> None:
        """Map the image shards into memory, once."""
        if self._shared is None:
            self._shared = read_images(self.task.images)
            self._described = are_described(self.task.images)

    def shared_fault(self, number: int) -> str | None:
        """Return the fault of an image in the shards; those that a conversion described have none."""
        assert self._shared is not None
        if not 0 <= number < len(self._shared):
            return f"no image {number} among {len(self._shared)}"
        if self._described:
            return None
        if number not in self._faults:
            self._faults[number] = decoding_fault(self._shared[number].as_py() or b"")
        return self._faults[number]

    def fault(self, image: bytes) -> str | None:
        """Return the fault of an image in a row itself."""
        return None if self._known else decoding_fault(image)

    def add_texts(self, split: str, values: dict[str, Any]) -> None:
        """Collect a row whose texts have no fault."""
        cell = values.get("image")
        image = cell.get("bytes") if isinstance(cell, dict) else cell
        pictures = [_hash(n) for n in values.get("images") or ()] + [_hash(image)] * bool(image)
        turns = [(turn["prompt"], turn["answer"]) for turn in values.get("history") or ()]
        asked = (values.get("system") or "", turns, values["prompt"])
        self._texts.add(split, asked, (values["answer"], *(values.get("answers") or ())), pictures)

    def save(self, broken: bool) -> None:
        """Note that all pictures are good, unless the data are broken or converted.

        Nothing is noted in a storage without converted data, which a dry run leaves as it is.
        """
        noting = self._note and self._note.parent.is_dir() and not self._known
        if self._note and noting and not broken and self._shared is None:
            write_atomically(self._note, PictureNote(name=self._note.stem, rules=RULES).to_json())

    def notes(self) -> list[str]:
        """Return the notes about the task's splits."""
        return self._texts.notes()


def _hash(content: Any) -> bytes:
    return short_hash(content if isinstance(content, bytes) else repr(content).encode())


def _note_file(task: Task, known: Path | None) -> Path | None:
    return known and known / f"pictures-{task.fingerprint()[:24]}.json"


def _read_note(file: Path | None) -> PictureNote | None:
    if file is None:
        return None
    try:
        note = PictureNote.read(file)
        return note if note.rules == RULES else None
    except (OSError, InputError):
        return None
