"""Detection of a file's format: the one that most of its first rows fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from spaces.errors import InputError, unknown
from tasks.formats import coco, coin, llava, pairs, sharegpt, swift, table
from tasks.formats.containers.json_text import Unreadable
from tasks.formats.containers.opening import open_source
from tasks.formats.containers.source import WRAPPED, Source
from tasks.formats.fields import PROMPT, first_value, is_caption
from tasks.formats.raw_example import RawExample, brief
from tasks.formats.values.columns import Columns
from tasks.formats.values.noted_row import NotedRow, Row

SAMPLE = 50
"""First rows of a file that decide."""


@dataclass(frozen=True)
class Format:
    """A way to write instruction data, a row at a time."""

    name: str
    title: str
    fits: Callable[[Row], bool]
    examples: Callable[[NotedRow, int], tuple[RawExample, ...]]


# The first of several formats that fit equally many rows is taken: more specific ones come before.
ROWWISE = {
    m.NAME: Format(m.NAME, m.TITLE, m.fits, m.examples)
    for m in (coin, sharegpt, llava, swift, table, pairs)
}
FORMATS = {f.name: f.title for f in ROWWISE.values()} | {coco.NAME: coco.TITLE}


@dataclass(frozen=True)
class Detection:
    """The format of a file, and the reason for it."""

    source: Source
    format: str
    why: str
    columns: Columns = field(default_factory=Columns)
    captions: bool = False
    """True if its first rows are captions, which have no prompt of their own."""

    def __str__(self) -> str:
        return f"{FORMATS[self.format]}; {self.source.title}; {self.why}"


def check_format_name(name: str) -> str:
    """Return a known format's name; raise `InputError` that names the nearest one otherwise."""
    if name not in FORMATS:
        raise unknown("format", name, FORMATS)
    return name


def detect(
    path: Path,
    format: str | None = None,
    split: str | None = None,
    columns: Columns | None = None,
) -> Detection:
    """Detect the format of a file; raise `InputError` with all known formats if none fits.

    A given `format` is taken, whatever the rows look like. In a file of several splits, `split` is read.
    """
    if format is not None:
        check_format_name(format)
    source = open_source(path, split)
    if format is not None:
        if format == coco.NAME and not coco.fits_keys(source.keys):
            raise InputError(f"{path} must be {coco.TITLE}: it is {source.title}")
        if columns and columns.names and format != coco.NAME:
            _check_columns(path, columns, _sample(source))
        captions = format == coco.NAME or _are_captions(_sample(source), columns or Columns())
        return Detection(source, format, "as was asked for", columns or Columns(), captions)
    if source.kind == "object" and coco.fits_keys(source.keys):
        why = 'it has the lists "images" and "annotations"'
        return Detection(source, coco.NAME, why, captions=True)
    if source.kind == "object" and WRAPPED not in source.keys:
        raise _no_format(path, f"an object with lists under {', '.join(source.keys)}")
    return _by_rows(source, columns or Columns())


def _by_rows(source: Source, columns: Columns) -> Detection:
    sample = _sample(source)
    _check_columns(source.path, columns, sample)
    good: list[Row] = [columns.of(row) for row in sample if isinstance(row, Mapping)]
    votes = _count_votes(good, source)
    if not any(votes.values()):
        raise _no_format(source.path, _described(sample, good))
    name = max(votes, key=lambda one: votes[one])
    keys = sorted({str(key) for row in good for key in row if ROWWISE[name].fits(row)})
    count = f"{votes[name]} of the first {len(sample)} rows fit"
    return Detection(
        source,
        name,
        f"{count}, with the keys {brief(keys)[1:-1]}",
        columns,
        _are_captions(sample, columns),
    )


def _are_captions(sample: list[Any], columns: Columns) -> bool:
    return bool(sample) and all(
        isinstance(row, Mapping) and is_caption(columns.of(row)) for row in sample
    )


def _sample(source: Source) -> list[Any]:
    with closing(source.rows()) as rows:  # type: ignore[type-var]
        return list(islice(rows, SAMPLE))


def _check_columns(path: Path, columns: Columns, rows: list[Any]) -> None:
    """Raise `InputError` for a named column that none of the first rows has."""
    known = dict.fromkeys(str(key) for row in rows if isinstance(row, Mapping) for key in row)
    for column in columns.names.values():
        if known and column not in known:
            raise InputError(f"{path}: columns: {unknown('column', column, known)}")


def _count_votes(rows: list[Row], source: Source) -> dict[str, int]:
    """Count the rows that fit each format; pairs in a table are of the format `table`."""
    left_out = pairs.NAME if source.is_table else table.NAME
    return {
        name: sum(map(format.fits, rows)) for name, format in ROWWISE.items() if name != left_out
    }


def _described(sample: list[Any], good: list[Row]) -> str:
    if not sample:
        return "no rows"
    if not good and isinstance(sample[0], Unreadable):
        detail = f" ({sample[0].detail})" if sample[0].detail else ""
        return f"rows that cannot be read, the first of them: {sample[0].reason}{detail}"
    if not good:
        return f"rows that are no objects, the first of them {brief(sample[0])}"
    inner = [str(key) for key, value in good[0].items() if _holds_rows(value)]
    hint = f"; the rows may be its list {inner[0]}, written to a file of its own" if inner else ""
    if not inner and any(first_value(row, PROMPT) is not None for row in good):
        hint = ", and no answer in any of them"
    return f"rows with the keys {', '.join(map(str, good[0]))[:200] or 'none'}{hint}"


def _holds_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)


def _no_format(path: Path, description: str) -> InputError:
    wanted = "\n".join(f"  {name:9s} {title}" for name, title in FORMATS.items())
    return InputError(f"{path} is in no known format: it has {description}; known are\n{wanted}")
