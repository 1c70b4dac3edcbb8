"""Options of a question in every form that users write them, and their places in its text."""

from __future__ import annotations

import ast
import json
import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from tasks.formats.raw_example import RowError, brief
from tasks.formats.values.noted_row import NotedRow, is_empty, is_missing, sole
from tasks.formats.values.texts import as_text

OPTIONS = ("choices", "options", "option", "choice", "candidates")
MOST = 26
_LONGEST = 100_000  # characters of a text that is parsed as a list
_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")
_ARRAY = re.compile(rf"\s*\[\s*(?:{_QUOTED.pattern})(?:\s+(?:{_QUOTED.pattern}))+\s*\]\s*")
_LETTERED = re.compile(r"\s*(?:[(\[]([A-Za-z]|\d{1,2})[)\]]\s*|([A-Za-z]|\d{1,2})[.):]\s+)(?=\S)")
_INLINE = re.compile(r"(?:^|(?<=[\s,;]))(?:\(([A-Z])\)|([A-Z])[.):])\s*")
_ANY_MARK = re.compile(r"(?<![A-Za-z0-9])[A-Za-z0-9]{1,2}[.):\]]")
_COLUMN = re.compile(r"(?:[Oo]ption|[Cc]hoice|opt)[ _-]?([A-Za-z]|\d)|([A-J])|op([a-e])")
_LABEL_KEYS = ("label", "labels", "letter", "key", "id", "option")
_TEXT_KEYS = ("text", "texts", "value", "content", "option_text", "answer")


@dataclass(frozen=True)
class Options:
    """The options of a question, in their order."""

    labels: tuple[str, ...]
    texts: tuple[str, ...]
    are_numbers: bool = False
    """True: the file has them as numbers, so that a number may be an option as well as its place."""

    def lines(self) -> list[str]:
        """Return the lines that are added to a question."""
        return [f"{label}. {text}" for label, text in zip(self.labels, self.texts, strict=True)]


def options_of(row: NotedRow) -> Options | None:
    """Return a row's options; None if it has none. Raise `RowError` for a form that is not known."""
    value = sole(row, OPTIONS, "options", "options")
    value = _columns(row) if is_empty(value) else value
    if is_empty(value):
        return None
    found = _parsed(value)
    if len(found.texts) > MOST:
        raise RowError("more than 26 options", str(len(found.texts)))
    if len(set(found.texts)) < len(found.texts):
        row.say("options of equal text")
    return found


def _columns(row: NotedRow) -> dict[str, Any]:
    """Return the values of columns A, B, C, ... or option_1, option_2, ..., by their letters."""
    found: dict[str, str] = {}
    for key in row:
        if (match := _column(key)) and not is_empty(row.peek(key)):
            found.setdefault((match[1] or match[2] or match[3]).upper(), key)
    for labels in (string.ascii_uppercase, string.digits[1:], string.digits):
        count = next((n for n, label in enumerate(labels) if label not in found), len(labels))
        if count > 1 and count < len(found):
            raise RowError("a gap in the columns of the options", ", ".join(found.values()))
        if count > 1:
            return {label: row[found[label]] for label in labels[:count]}
    return {}


@lru_cache(maxsize=1024)  # keys are the same in every row
def _column(key: str) -> re.Match[str] | None:
    return _COLUMN.fullmatch(key)


def _parsed(value: Any) -> Options:
    if isinstance(value, str):
        value = _from_text(value)
    if isinstance(value, Mapping):
        return _from_mapping(value)
    if not isinstance(value, list | tuple):
        raise RowError("options are in no known form", f"{brief(value)}: a list of texts would do")
    values = list(value)
    while values and is_missing(values[-1]):
        values.pop()
    if values and all(isinstance(one, Mapping) for one in values):
        return _from_mappings(values)
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in values)
    return replace(_labelled([as_text(one, "option") for one in values]), are_numbers=numbers)


def _from_text(text: str) -> Any:
    """Return the list or object that a text holds: as JSON, as Python writes it, or a line for each."""
    if (parts := _printed_array(text)) is not None:
        return parts
    if text.lstrip()[:1] in ("[", "{", "("):
        for parse in (json.loads, ast.literal_eval):
            try:
                parsed = parse(text.strip()[:_LONGEST])
            except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
                continue
            if isinstance(parsed, list | tuple | dict) and parsed:
                return parsed
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > 1:
        return lines
    marks = list(_INLINE.finditer(text))
    letters = "".join(mark[1] or mark[2] for mark in marks)
    if len(marks) > 1 and string.ascii_uppercase.startswith(letters) and marks[0].start() == 0:
        ends = [*(mark.start() for mark in marks[1:]), len(text)]
        parts = [text[m.end() : end].strip(" ,;\t") for m, end in zip(marks, ends, strict=True)]
        return dict(zip(letters, parts, strict=True))
    raise RowError("options are in no known form", f"{brief(text)}: a list of texts would do")


def _printed_array(text: str) -> list[str] | None:
    """Return the texts of an array as numpy prints it, without commas, which Python would join."""
    if not _ARRAY.fullmatch(text[:_LONGEST]):
        return None
    return [ast.literal_eval(one[0]) for one in _QUOTED.finditer(text)]


def _labelled(texts: Sequence[str]) -> Options:
    """Return options with the letters that their texts begin with, else with A, B, C, ..."""
    found = [_LETTERED.match(text) for text in texts]
    own = tuple(match[1] or match[2] for match in found if match)
    for labels in (string.ascii_uppercase, string.ascii_lowercase, tuple(map(str, range(1, 27)))):
        if texts and own == tuple(labels[: len(texts)]):
            rest = (text[match.end() :] for text, match in zip(texts, found, strict=True) if match)
            return Options(own, tuple(rest))
    return Options(tuple(label(n) for n in range(len(texts))), tuple(texts))


def label(number: int) -> str:
    """Return the letter of an option, counted from 0; beyond Z its number."""
    return string.ascii_uppercase[number] if number < MOST else str(number + 1)


def _from_mapping(value: Mapping[str, Any]) -> Options:
    """Return options of {"A": text, ...}, or of {"label": [...], "text": [...]}."""
    lists = {key: one for key, one in value.items() if isinstance(one, list | tuple)}
    texts = next((lists[key] for key in _TEXT_KEYS if key in lists), None)
    if texts is not None:
        labels = next((lists[key] for key in _LABEL_KEYS if key in lists), None)
        if labels is not None and len(labels) != len(texts):
            raise RowError("options and their labels differ in number", brief(value))
        pairs = list(zip(labels, texts, strict=True)) if labels else None
        return _of_pairs(pairs) if pairs else _parsed(list(texts))
    return _of_pairs([(key, one) for key, one in value.items() if not is_missing(one)])


def _from_mappings(values: Sequence[Mapping[str, Any]]) -> Options:
    """Return options of [{"label": "A", "text": ...}, ...] or [{"A": ...}, ...]."""
    pairs = []
    for number, one in enumerate(values):
        if len(one) == 1 and not set(one) & {*_TEXT_KEYS}:
            pairs += one.items()
            continue
        text = next((one[key] for key in _TEXT_KEYS if not is_missing(one.get(key))), None)
        own = next((one[key] for key in _LABEL_KEYS if not is_missing(one.get(key))), label(number))
        pairs.append((own, text))
    return _of_pairs(pairs)


def _of_pairs(pairs: Sequence[tuple[Any, Any]]) -> Options:
    labels = tuple(as_text(own, "label of an option").strip(" .():") for own, _ in pairs)
    if len(set(labels)) < len(labels) or not all(
        re.fullmatch(r"[A-Za-z]|\d\d?", o) for o in labels
    ):
        raise RowError(
            "labels of options must be letters or numbers, each once", brief(", ".join(labels))
        )
    texts = tuple(as_text(text, "option") for _, text in pairs)
    return Options(labels, texts)


def listed_labels(options: Options, text: str) -> tuple[str, ...] | None:
    """Return the labels under which a text lists all options already; None if it does not.

    Raise `RowError` if it lists them under labels of each other.
    """
    if not _ANY_MARK.search(text):
        return None
    count = len(options.texts)
    upper, lower = string.ascii_uppercase[:count], string.ascii_lowercase[:count]
    for labels in dict.fromkeys([options.labels, tuple(upper), tuple(lower), _numbers(count)]):
        marks = [_mark(one) for one in labels]
        if not all(mark.search(text) for mark in marks):
            continue
        at = [_find(text, own, one) for own, one in zip(labels, options.texts, strict=True)]
        if all(at):
            return labels
        wrong = [own for own, found in zip(labels, at, strict=True) if not found]
        if any(_find(text, own, one) for own in wrong for one in options.texts):
            raise RowError("the question lists the options in another order", brief(text))
    return None


def _numbers(count: int) -> tuple[str, ...]:
    return tuple(str(n + 1) for n in range(count))


def _mark(own: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![A-Za-z0-9])[(\[]?{re.escape(own)}[.):\]]")


def _find(text: str, own: str, option: str) -> bool:
    """Return whether a label stands in a text with an option behind it."""
    words = r"\s+".join(map(re.escape, option.split()))
    mark = rf"(?<![A-Za-z0-9])[(\[]?{re.escape(own)}[.):\]]+"
    return re.search(rf"{mark}\s*(?i:{words})(?![A-Za-z0-9])", text) is not None
