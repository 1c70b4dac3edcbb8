"""Columns that a user names: where two could be meant, or the names are not known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from spaces.errors import InputError, unknown
from tasks.formats.values.answers import ANSWER, ANSWERS, FALLBACK, PLACES
from tasks.formats.values.image_cells import IMAGES
from tasks.formats.values.noted_row import Row
from tasks.formats.values.options import OPTIONS

ID = ("id", "question_id", "questionId", "uid", "sample_id")
PROMPT = ("prompt", "question", "query", "instruction", "problem", "text")
SYSTEM = ("system", "system_prompt")
MEANINGS: dict[str, tuple[str, ...]] = {
    "id": ID,
    "prompt": PROMPT,
    "answer": (*ANSWER, *PLACES, *FALLBACK),
    "answers": ANSWERS,
    "image": IMAGES,
    "options": OPTIONS,
    "system": SYSTEM,
    "context": ("context", "hint", "passage"),
    "turns": ("conversations", "messages"),
}
"""Meanings that a column can be given, each with the names that are known for it."""
IGNORE, INDEX_FROM = "ignore", "index_from"
KEYS = (*MEANINGS, IGNORE, INDEX_FROM)


@dataclass(frozen=True)
class Columns:
    """The columns that a task names; all others of the same meaning are then left aside."""

    names: Mapping[str, str] = field(default_factory=dict)
    """Column of each meaning that is named."""
    ignore: tuple[str, ...] = ()
    """Columns that mean nothing."""
    index_from: int | None = None
    """Number of the first option in answers that are places: 0 or 1; None: as the rows tell."""

    def of(self, row: Row) -> dict[str, Any]:
        """Return a row with the named columns under the names that are known for them."""
        if not self.names and not self.ignore:
            return dict(row)
        aside = {name for meaning in self.names for name in MEANINGS[meaning]} | {*self.ignore}
        aside |= {*self.names.values()}
        kept = {key: value for key, value in row.items() if key not in aside}
        named = {
            MEANINGS[meaning][0]: row[column]
            for meaning, column in self.names.items()
            if column in row
        }
        return kept | named

    def settings(self) -> dict[str, Any]:
        """Return all of it as plain values, as a task's entry writes them."""
        own = dict(self.names)
        own |= {IGNORE: list(self.ignore)} if self.ignore else {}
        return own | ({} if self.index_from is None else {INDEX_FROM: self.index_from})


def columns_of(values: Any, where: str) -> Columns:
    """Return the columns of a task's `columns:`; raise `InputError`, which begins with `where`."""
    if values is None:
        return Columns()
    if not isinstance(values, dict):
        raise InputError(f"{where}: columns must hold {', '.join(KEYS)}: got {values!r:.200}")
    for key in values:
        if key not in KEYS:
            raise InputError(f"{where}: columns: {unknown('key', key, KEYS)}")
    names = {key: value for key, value in values.items() if key in MEANINGS}
    for key, value in names.items():
        if not isinstance(value, str) or not value:
            raise InputError(f"{where}: columns: {key} must be a column's name: got {value!r:.200}")
    if len(set(names.values())) < len(names):
        raise InputError(f"{where}: columns must name a column once: got {names!r:.200}")
    ignore = values.get(IGNORE, [])
    ignore = [ignore] if isinstance(ignore, str) else ignore
    if not isinstance(ignore, list) or not all(isinstance(one, str) for one in ignore):
        raise InputError(f"{where}: columns: ignore must be a list of columns: got {ignore!r:.200}")
    both = sorted({*ignore} & {*names.values()})
    if both:
        raise InputError(f"{where}: columns: {', '.join(both)} cannot be named and ignored")
    first = values.get(INDEX_FROM)
    if first is not None and (isinstance(first, bool) or first not in (0, 1)):
        raise InputError(f"{where}: columns: index_from must be 0 or 1: got {first!r:.200}")
    return Columns(names, tuple(ignore), first)
