"""Detection of a file's container.

The content decides, not the file's name: users name JSON Lines `.json` and the other way round.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from typing import Any

from spaces.errors import InputError
from tasks.data.task import SPLITS
from tasks.formats.containers.json_text import LONGEST, NOTHING, JsonText, Unreadable, parsed_line
from tasks.formats.containers.near_json import JsonFault
from tasks.formats.containers.source import CAPTIONS, TITLES, WRAPPED, Source
from tasks.formats.raw_example import brief

_FIRST_LINE = 1 << 20  # bytes; lists of many GB may be one line
_TRIES = 20  # first lines by which JSON Lines are detected, and first members of an object
_WORDS = {
    "train": "train training",
    "validation": "validation valid val dev",
    "test": "test testing",
}
SPLIT_OF_WORD = {word: split for split, words in _WORDS.items() for word in words.split()}
"""Split that a word names."""
TABLES_OF_TEXT = (".csv", ".tsv", ".tab", ".token", ".psv")
_OTHER_FILES = {
    b"\x1f\x8b": "gzip has compressed it: unpack it",
    b"PK": "it is a ZIP archive: unpack it",
    b"\xff\xfe": "it is UTF-16: save it as UTF-8",
    b"\xfe\xff": "it is UTF-16: save it as UTF-8",
    b"version ": "it is a pointer of git-lfs: fetch the file itself (git lfs pull)",
}


def split_by_word(text: str) -> str | None:
    """Return the split that the words of a text name; None if none does, or several do."""
    words = re.split("[^a-z]+", text.lower())
    splits = {SPLIT_OF_WORD[word] for word in words if word in SPLIT_OF_WORD}
    return splits.pop() if len(splits) == 1 else None


def open_source(path: Path, split: str | None = None) -> Source:
    """Detect a file's container from its first bytes; raise `InputError` if none is known.

    In an object of several splits, the rows of `split` are read.
    """
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    if start[:4] == b"PAR1":
        return Source(path, "parquet")
    if start[:6] == b"ARROW1" or start[:4] == b"\xff\xff\xff\xff":
        return Source(path, "arrow")
    source = _open_json(path, split)
    if source is None:
        titles = [title for kind, title in TITLES.items() if kind in ("list", "lines", "object")]
        raise InputError(
            f"{path} must be {', '.join([*titles, 'Parquet', 'Arrow'])}: it begins with "
            f"{brief(start)}; {_cause(path, start)}"
        )
    return source


def split_keys(path: Path) -> dict[str, str]:
    """Return the keys of the splits that one file holds: {"train": [...], "dev": [...]}."""
    try:
        with path.open("rb") as file:
            if file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] not in (b"{", b"/", b"#"):
                return {}
        source = _open_json(path, None)
    except (OSError, InputError):
        return {}
    return _splits(source.keys) if source and source.kind == "by_split" else {}


def _splits(keys: tuple[str, ...]) -> dict[str, str]:
    return {SPLIT_OF_WORD[key.lower()]: key for key in keys}


def _cause(path: Path, start: bytes) -> str:
    """Say what keeps a file from being read, in words that lead to the remedy."""
    for magic, cause in _OTHER_FILES.items():
        if start.startswith(magic):
            return cause
    if not start.strip():
        return "it is empty" if not start else "nothing but blanks was found at its beginning"
    if path.suffix.lower() in TABLES_OF_TEXT:
        return (
            "tables of text are not read; pandas.read_csv(...).to_json(..., orient='records', lines=True) "
            "would write JSON Lines"
        )
    with closing(JsonText(path)) as text:
        if text.peek() in ("{", "["):
            try:
                for _ in text.values():
                    pass
            except JsonFault as fault:
                return f"{fault}; mend that line"
    return "text must be UTF-8, and nothing compressed"


def _open_json(path: Path, split: str | None) -> Source | None:
    with closing(JsonText(path)) as text:
        first = text.peek()
    line, is_last = _first_line(path)
    if first == "{" and (line is None or is_last):
        if source := _object(path, split):
            return source
        if line is None and _begins_with_object(path):
            return Source(path, "stream")
    if first == "[" and (line is None or is_last or not _has_object_line(path)):
        return Source(path, "list")
    return Source(path, "lines") if _has_object_line(path) else None


def _object(path: Path, split: str | None) -> Source | None:
    """Return the container that an object is; None if it is a row itself, or broken."""
    lists, objects, others = _members(path)
    if WRAPPED in lists or set(lists) >= CAPTIONS:
        return Source(path, "object", tuple(lists))
    if objects == [WRAPPED]:
        return Source(path, "object", (*lists, WRAPPED))
    groups = [*lists, *objects]
    if groups and all(key.lower() in SPLIT_OF_WORD for key in groups):
        return _part(path, tuple(groups), split)
    if objects and not lists and not others:
        return Source(path, "by_id")
    return None


def _part(path: Path, keys: tuple[str, ...], split: str | None) -> Source:
    splits = _splits(keys)
    if len(splits) < len(keys):
        raise InputError(f"{path} must hold each split once: it has {', '.join(keys)}")
    if split is not None and split not in splits:
        raise InputError(f"{path} holds {', '.join(keys)}, and no rows of {split}")
    first = next(name for name in SPLITS if name in splits)
    return Source(path, "by_split", keys, splits[split or first])


def _first_line(path: Path) -> tuple[Any, bool]:
    """Return the value of the first line, None if it is no whole value, and whether nothing follows."""
    with path.open("rb") as file:
        line = file.readline(_FIRST_LINE)
        while line and (not line.strip() or _is_comment(line)):
            line = file.readline(_FIRST_LINE)
        return _tried(line), not file.read(4096).strip()


def _is_comment(line: bytes) -> bool:
    return line.lstrip()[:1] in (b"/", b"#") and _tried(line) is NOTHING


def _has_object_line(path: Path) -> bool:
    """Return whether one of the first lines is an object by itself."""
    with path.open("rb") as file:
        return any(isinstance(_tried(file.readline(LONGEST)), dict) for _ in range(_TRIES))


def _tried(line: bytes) -> Any:
    with suppress(JsonFault):
        found = parsed_line(line)
        if isinstance(found, Unreadable):  # an object in which a key comes twice, or in a list
            return None if line.lstrip(b"\xef\xbb\xbf \t")[:1] == b"[" else {}
        return found
    return None


def _begins_with_object(path: Path) -> bool:
    with closing(JsonText(path)) as text, suppress(JsonFault):
        return any(isinstance(one, Mapping | Unreadable) for one in islice(text.values(), 1))
    return False


def _members(path: Path) -> tuple[list[str], list[str], list[str]]:
    """Return the keys of an object that hold lists, objects, and other values.

    In a broken object, those before the fault; of one that begins with many objects, the first alone.
    """
    lists, objects, others = [], [], []
    with closing(JsonText(path)) as text, suppress(JsonFault):
        for key in text.members():
            first = text.peek()
            (lists if first == "[" else objects if first == "{" else others).append(key)
            if not lists and not others and len(objects) > _TRIES:
                break
            if first == "[":
                for _ in text.elements():
                    pass
            elif first == "{":
                for _ in text.members():
                    text.value()
            else:
                text.value()
    return lists, objects, others
