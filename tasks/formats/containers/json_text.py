"""JSON read a value at a time, so that a list of several GB needs no more memory than its longest row.

The standard decoder works on a window of the file. An event parser in C was tried. It stops at `NaN` and
at integers of more than 64 bits, which Python's own `json` writes. It silently puts "?" for half of a
surrogate pair, and its memory grows with the square of the nesting. Small faults without doubt are read:
see `near_json`.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.formats.containers.near_json import (
    DECODER,
    JsonFault,
    KeyTwice,
    extent,
    near_value,
    without_comments,
)
from tasks.formats.raw_example import printable

WINDOW = 1 << 18  # characters read at a time
LONGEST = 1 << 26  # characters of one value; images as data: URIs stay far below
_NEAR_END = 16  # characters: an error so close to the window's end may be a literal cut in two
_BLANK = " \t\n\r"
TWICE = "a key is written twice"
NOTHING = object()
"""Value of a line that holds a comment only."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Placeholder of a row that cannot be parsed."""

    reason: str
    detail: str


class JsonText:
    """Reader of a JSON file's values, in turn; invalid UTF-8 becomes lone surrogates."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._decode = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode
        self._window, self._at, self._line, self._ended = "", 0, 1, False
        self.bytes_read = 0
        if self.peek() == "\ufeff":
            self._at += 1

    def close(self) -> None:
        self._file.close()

    def peek(self) -> str:
        """Return the next character that is neither blank nor in a comment; empty at the end."""
        while True:
            while self._at < len(self._window) and self._window[self._at] in _BLANK:
                self._at += 1
            if self._at == len(self._window):
                if not self._more():
                    return ""
            elif self._window[self._at] not in "/#" or not self._skip_comment():
                return self._window[self._at]

    def _skip_comment(self) -> bool:
        """Skip the comment that begins here; return False if none does."""
        if self._window[self._at] == "/" and len(self._window) - self._at < 2:
            self._more()
        start = self._window[self._at : self._at + 2]
        mark = "\n" if start[:1] == "#" or start == "//" else "*/" if start == "/*" else ""
        if not mark:
            return False
        while (end := self._window.find(mark, self._at + len(start.rstrip("\n")))) < 0:
            if len(self._window) - self._at > LONGEST or not self._more():
                if mark == "*/":
                    return False
                self._at = len(self._window)
                return True
        self._at = end + len(mark)
        return True

    def take(self, wanted: str) -> None:
        """Skip one character, which must be `wanted`."""
        if self.peek() != wanted:
            raise self._fault(f'"{wanted}" expected')
        self._at += 1

    def value(self) -> Any:
        """Parse the next value; return `Unreadable` for an object with a key that comes twice."""
        self.peek()
        while True:
            try:
                found, end = DECODER.raw_decode(self._window, self._at)
            except json.JSONDecodeError as error:
                if self._final(error) or not self._more():
                    return self._near_value(self._fault(error.msg, error.pos))
            except RecursionError:
                raise self._fault("nested too deeply") from None
            except KeyTwice as error:
                return self._twice(error)
            except ValueError as error:  # an integer of thousands of digits
                raise self._fault(str(error).split(";")[0]) from error
            else:
                if end < len(self._window) or not self._more():  # a number may go on
                    self._at = end
                    return found

    def _near_value(self, fault: JsonFault) -> Any:
        """Parse the next value with small faults; raise `fault` if it is none."""
        end = self._extent()
        if end is None:
            raise fault
        try:
            found = near_value(self._window[self._at : end])
        except KeyTwice as error:
            return self._twice(error)
        except ValueError:
            raise fault from None
        self._at = end
        return found

    def _twice(self, error: KeyTwice) -> Unreadable:
        """Skip a value with a key that comes twice; return what stands for it."""
        fault = self._fault(f'key "{printable(str(error))[:60]}"', self._at)
        end = self._extent()
        if end is None:
            raise fault
        self._at = end
        return Unreadable(TWICE, str(fault))

    def _extent(self) -> int | None:
        """Return the end of the list or object that begins here, after reading as far as it goes."""
        if self.peek() not in ("[", "{"):
            return None
        while (end := extent(self._window, self._at)) is None:
            if len(self._window) - self._at > LONGEST or not self._more():
                return None
        return end

    def elements(self) -> Iterator[Any]:
        """Yield the elements of the list that follows."""
        self.take("[")
        while self.peek() != "]":
            yield self.value()
            if self.peek() != "]":
                self.take(",")
        self._at += 1

    def values(self) -> Iterator[Any]:
        """Yield the values that follow each other up to the file's end, with or without a comma."""
        while self.peek():
            yield self.value()
            if self.peek() == ",":
                self._at += 1

    def members(self) -> Iterator[str]:
        """Yield the keys of the object that follows; the caller takes each value before the next key."""
        self.take("{")
        known = set()
        while self.peek() != "}":
            if self.peek() != '"':
                raise self._fault("a key in double quotes expected")
            key = self.value()
            if key in known:
                raise self._fault(f'key "{printable(key)[:60]}" is written twice')
            known.add(key)
            self.take(":")
            yield key
            if self.peek() != "}":
                self.take(",")
        self._at += 1

    def end(self) -> None:
        """Raise `JsonFault` unless the file ends here."""
        if self.peek():
            raise self._fault("something follows the end of the list")

    def _final(self, error: json.JSONDecodeError) -> bool:
        """Return whether an error stays, however much more of the file is read."""
        if len(self._window) - self._at > LONGEST:
            return True
        cut = error.msg.startswith("Unterminated") or error.pos >= len(self._window) - _NEAR_END
        return not cut

    def _more(self) -> bool:
        """Drop what was taken, and read at least as much again as is left; return False at the end."""
        if self._ended:
            return False
        left = len(self._window) - self._at
        data = self._file.read(max(WINDOW, left))
        self.bytes_read += len(data)
        self._ended = not data
        self._line += self._window.count("\n", 0, self._at)
        self._window = self._window[self._at :] + self._decode(data, final=self._ended)
        self._at = 0
        return True

    def _fault(self, message: str, at: int | None = None) -> JsonFault:
        line = self._line + self._window.count("\n", 0, self._at if at is None else at)
        return JsonFault(f"line {line}: {message}")


def parsed_line(line: bytes) -> Any:
    """Parse one line of JSON Lines; raise `JsonFault` if it cannot be parsed.

    Returns `Unreadable` for an object with a key that comes twice, and `NOTHING` for a comment.
    """
    text = line.decode("utf-8-sig", "surrogateescape")
    try:
        return DECODER.decode(text)
    except KeyTwice as error:
        return _key_twice(error)
    except json.JSONDecodeError as error:
        fault = JsonFault(f"column {error.colno}: {error.msg}")
    except RecursionError:
        raise JsonFault("nested too deeply") from None
    except ValueError as error:
        raise JsonFault(str(error).split(";")[0]) from error
    return _near_line(text, fault)


def _near_line(text: str, fault: JsonFault) -> Any:
    plain = without_comments(text).strip()
    if not plain:
        return NOTHING
    try:
        return near_value(plain.removesuffix(","))
    except KeyTwice as error:
        return _key_twice(error)
    except ValueError:
        raise fault from None


def _key_twice(error: KeyTwice) -> Unreadable:
    return Unreadable(TWICE, f'key "{printable(str(error))[:60]}"')
