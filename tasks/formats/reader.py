"""Reader of a file of a known format: every row is accepted, or rejected with a reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tasks.formats import coco
from tasks.formats.containers.json_text import Unreadable
from tasks.formats.containers.source import ReportShare, no_report
from tasks.formats.detect import ROWWISE, Detection, Format
from tasks.formats.fields import row_id
from tasks.formats.raw_example import Accepted, Item, Rejected, RowError, brief


def read_items(detection: Detection, report: ReportShare = no_report) -> Iterator[Item]:
    """Yield each row as accepted or rejected, in bounded memory; images stay references.

    `report` is called with the share of the file that has been read.
    """
    if detection.format == coco.NAME:
        yield from coco.items(detection.source, report)
        return
    row_format = ROWWISE[detection.format]
    for number, row in enumerate(detection.source.rows(report)):
        yield _item(row_format, row, number)


def _item(row_format: Format, row: Any, number: int) -> Item:
    if isinstance(row, Unreadable):
        return Rejected(number, "", row.reason, row.detail)
    if not isinstance(row, Mapping):
        return Rejected(number, "", "the row is no object", brief(row))
    try:
        return Accepted((number,), row_format.examples(row, number))
    except RowError as refused:
        return Rejected(number, row_id(row, number), refused.reason, refused.detail)
