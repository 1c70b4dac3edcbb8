"""JSON read a value at a time, so that a list of several GB needs no more memory than its longest row.

The standard decoder works on a window of the file. An event parser in C was tried. It stops at `NaN` and
at integers of more than 64 bits, which Python's own `json` writes. It silently puts "?" for half of a
surrogate pair, and its memory grows with the square of the nesting.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WINDOW = 1 << 18  # characters read at a time
LONGEST = 1 << 26  # characters of one value; images as data: URIs stay far below
_NEAR_END = 16  # characters: an error so close to the window's end may be a literal cut in two
_BLANK = " \t\n\r"


class JsonFault(ValueError):
    """Fault of a JSON text; the message holds the line."""


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
        """Return the next character that is not blank; empty at the end."""
        while True:
            while self._at < len(self._window) and self._window[self._at] in _BLANK:
                self._at += 1
            if self._at < len(self._window) or not self._more():
                return self._window[self._at : self._at + 1]

    def take(self, wanted: str) -> None:
        """Skip one character, which must be `wanted`."""
        if self.peek() != wanted:
            raise self._fault(f'"{wanted}" expected')
        self._at += 1

    def value(self) -> Any:
        """Parse the next value."""
        self.peek()
        while True:
            try:
                found, end = _DECODER.raw_decode(self._window, self._at)
            except json.JSONDecodeError as error:
                if self._final(error) or not self._more():
                    raise self._fault(error.msg, error.pos) from error
            except RecursionError:
                raise self._fault("nested too deeply") from None
            except ValueError as error:  # an integer of thousands of digits
                raise self._fault(str(error).split(";")[0]) from error
            else:
                if end < len(self._window) or not self._more():  # a number may go on
                    self._at = end
                    return found

    def elements(self) -> Iterator[Any]:
        """Yield the elements of the list that follows."""
        self.take("[")
        if self.peek() == "]":
            self._at += 1
            return
        while True:
            yield self.value()
            if self.peek() == "]":
                self._at += 1
                return
            self.take(",")

    def members(self) -> Iterator[str]:
        """Yield the keys of the object that follows; the caller takes each value before the next key."""
        self.take("{")
        while self.peek() != "}":
            if self.peek() != '"':
                raise self._fault("a key in double quotes expected")
            key = self.value()
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


_DECODER = json.JSONDecoder()


def parsed_line(line: bytes) -> Any:
    """Parse one line of JSON Lines; raise `JsonFault` if it cannot be parsed."""
    try:
        return json.loads(line.decode("utf-8-sig", "surrogateescape"))
    except json.JSONDecodeError as error:
        raise JsonFault(f"column {error.colno}: {error.msg}") from error
    except RecursionError:
        raise JsonFault("nested too deeply") from None
    except ValueError as error:
        raise JsonFault(str(error).split(";")[0]) from error
