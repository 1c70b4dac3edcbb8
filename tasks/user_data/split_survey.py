"""Survey of a raw task's splits while its files are inspected: the notes that a dry run prints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tasks.data.split_notes import SplitTexts
from tasks.data.task import SPLITS
from tasks.formats.detect import detect
from tasks.formats.raw_example import RawExample
from tasks.scoring.answers import ANSWER_METRICS
from tasks.user_data.raw_task import RawTask
from tasks.user_data.split_assignment import assign_splits
from tasks.user_data.task_converter import as_asked


class SplitSurvey:
    """Collector of the examples of one task, by the splits that its conversion would give them.

    The files must be inspected whole and in the task's order.
    """

    def __init__(self, task: RawTask | str, closed: bool = False) -> None:
        name, metric = (task, "") if isinstance(task, str) else (task.name, task.metric)
        self._texts = SplitTexts(name, ANSWER_METRICS.get(metric) if closed else None)
        self._assigned: Iterator[str] | None = None
        if isinstance(task, RawTask) and (task.made_splits or task.limit):
            files = {
                split: [detect(file, task.format, split, task.columns) for file in files]
                for split, files in task.files.items()
            }
            self._assigned = assign_splits(task, files)

    def target(self, split: str) -> str:
        """Return the split of the next group that could be read in a file of `split`."""
        return split if self._assigned is None else next(self._assigned, split)

    def add(self, split: str, example: RawExample, form: str, pictures: Sequence[bytes]) -> None:
        """Add a sound example of a file of the format `form`; other splits' examples are left out."""
        if split not in SPLITS:
            return
        for one in as_asked(example, split, form):
            asked = (one.system, one.history, one.prompt)
            self._texts.add(split, asked, (one.answer, *one.answers), pictures)

    def notes(self) -> list[str]:
        """Return the notes about the task's splits."""
        return self._texts.notes()
