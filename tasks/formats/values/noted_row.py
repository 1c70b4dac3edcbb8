"""A row that notes which of its keys are read, so that nothing of it is left out without a word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tasks.formats.raw_example import RowError, printable

Row = Mapping[str, Any]
SPLIT_KEYS = ("split", "data_split", "set_name")
"""Keys by which a row says itself to which split it belongs."""
NESTED = "[]"
"""End of the place of a value in a list, in what is said of keys."""


def is_missing(value: Any) -> bool:
    """Return whether a cell has no value: null, or the NaN that pandas writes for one."""
    return value is None or (isinstance(value, float) and value != value)


def is_empty(value: Any) -> bool:
    """Return whether a value is missing, blank, or a list or object without content."""
    if isinstance(value, str):
        return value.strip() in ("", "[]", "{}")
    if isinstance(value, Mapping):
        return all(map(is_empty, value.values()))
    if isinstance(value, list | tuple):
        return all(map(is_empty, value))
    return is_missing(value) or value == b""


class NotedRow(Mapping[str, Any]):
    """A row, or an object in one; keys that nobody has read by the end are said."""

    def __init__(
        self,
        values: Row,
        place: str = "",
        index_from: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._values, self._place = values, place
        self.index_from = index_from
        """Function that returns the number of the first option in answers of the file, if it is known."""
        self._read: set[str] = set()
        self._inner: list[NotedRow] = []
        self._said: list[str] = []

    def __getitem__(self, key: str) -> Any:
        self._read.add(key)
        return self._values[key]

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def peek(self, key: str) -> Any:
        """Return a value, None for a missing one, without a note that it is read."""
        value = self._values.get(key)
        return None if is_missing(value) else value

    def present(self, names: Sequence[str]) -> dict[str, Any]:
        """Return the values under those of the names that have one, without a note."""
        values = self._values
        if values.keys().isdisjoint(names):  # most rows, most of the time
            return {}
        return {n: values[n] for n in names if n in values and not is_missing(values[n])}

    def inner(self, name: str, values: Row) -> NotedRow:
        """Return an object within this row; its unread keys are said as this row's."""
        one = NotedRow(values, f"{self._place}{name}.", self.index_from)
        self._inner.append(one)
        return one

    def say(self, text: str) -> None:
        """Add a line about something that is left out, or kept as it is."""
        self._said.append(text)

    def unread(self) -> list[str]:
        """Return the keys that have a value and were not read."""
        values = self._values
        return [key for key in values if key not in self._read and not is_empty(values[key])]

    def notes(self) -> tuple[str, ...]:
        """Return what is said of the row, and its unread keys, each once."""
        keys = self.unread()
        unread = [f"{self._place}{printable(str(key))[:60]}" for key in keys]
        own = next((self._values[key] for key in SPLIT_KEYS if key in keys), None)
        if isinstance(own, str) and not self._place:
            self.say(f"rows of their own split {printable(own)[:20]}, which is not used")
        inner = [note for one in self._inner for note in one.notes()]
        return tuple(dict.fromkeys([*unread, *inner, *self._said]))


def sole(row: NotedRow, names: Sequence[str], what: str, column: str) -> Any:
    """Return the one value under several names; raise `RowError` if two of them differ.

    Equal values count as one. `column` is the key of `columns:` that settles which is meant.
    """
    given = row.present(names)
    filled = {name: value for name, value in given.items() if not is_empty(value)} or given
    if len({repr(value) for value in filled.values()}) > 1:
        raise several_names(what, list(filled), column)
    for name in given:
        row[name]  # each has been read
    return next(iter(filled.values()), None)


def several_names(what: str, names: Sequence[str], column: str) -> RowError:
    """Make the error of two columns that could be meant; it names the key that settles it."""
    settled = f"columns: {{{column}: {names[0]}}} would take the first"
    return RowError(f"{what} under several names", f"{', '.join(names)}; {settled}")


def first_value(row: Row, names: Sequence[str]) -> Any:
    """Return the first value under some names of which only one is expected; None if there is none."""
    found = [(name, row.get(name)) for name in names if name in row]
    return next((value for _, value in found if not is_missing(value)), None)


def note_lines(notes: Mapping[str, int], most: int = 20) -> list[str]:
    """Return the lines of a report that say what of the accepted rows is not used, with their number."""
    common = Counter(notes).most_common(most)
    more = [f"and {len(notes) - most} more"] if len(notes) > most else []
    keys = [f"{note} ({count})" for note, count in common if " " not in note]
    others = [f"{note} ({count})" for note, count in common if " " in note]
    unused = [f"not used    keys {', '.join([*keys, *more])}"] if keys else []
    return unused + ([f"noted       {', '.join(others)}"] if others else [])
