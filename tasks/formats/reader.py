"""Reader of a file of a known format: every row is accepted, or rejected with a reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from typing import Any

from tasks.formats import coco
from tasks.formats.containers.json_text import Unreadable
from tasks.formats.containers.source import ReportShare, no_report
from tasks.formats.detect import ROWWISE, Detection, Format
from tasks.formats.fields import row_id
from tasks.formats.raw_example import Accepted, Item, Rejected, RowError, brief
from tasks.formats.values.answers import first_place
from tasks.formats.values.noted_row import NotedRow
from tasks.formats.values.options import options_of
from tasks.formats.values.tokens import check_example


def read_items(detection: Detection, report: ReportShare = no_report) -> Iterator[Item]:
    """Yield each row as accepted or rejected, in bounded memory; images stay references.

    `report` is called with the share of the file that has been read.
    """
    if detection.format == coco.NAME:
        yield from coco.items(detection.source, report)
        return
    row_format, places = ROWWISE[detection.format], _Places(detection)
    for number, row in enumerate(detection.source.rows(report)):
        yield _item(row_format, row, number, places)


def _item(row_format: Format, row: Any, number: int, places: _Places) -> Item:
    if isinstance(row, Unreadable):
        return Rejected(number, "", row.reason, row.detail)
    if not isinstance(row, Mapping):
        return Rejected(number, "", "the row is no object", brief(row))
    noted = NotedRow(places.columns.of(row), index_from=places.first)
    try:
        examples = row_format.examples(noted, number)
        said = dict.fromkeys(note for example in examples for note in check_example(example))
    except RowError as refused:
        return Rejected(number, row_id(row, number), refused.reason, refused.detail)
    return Accepted((number,), examples, (*noted.notes(), *said))


class _Places:
    """Answers of a file that are places among options: from which number they count."""

    def __init__(self, detection: Detection) -> None:
        self.detection, self.columns = detection, detection.columns
        self._first = self.columns.index_from
        self._surveyed = self._first is not None

    def first(self) -> int | None:
        """Return 0 or 1 as the first row tells that can; None if none does. The file is read once."""
        if not self._surveyed:
            self._first, self._surveyed = self._survey(), True
        return self._first

    def _survey(self) -> int | None:
        with closing(self.detection.source.rows()) as rows:  # type: ignore[type-var]
            for row in rows:
                if isinstance(row, Mapping):
                    with suppress(RowError):
                        noted = NotedRow(self.columns.of(row))
                        options = options_of(noted)
                        found = first_place(noted, options) if options else None
                        if found is not None:
                            return found
        return None
