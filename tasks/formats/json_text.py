"""JSON read a value at a time, so that a list of several GB needs no more memory than its longest row.

The standard decoder does the work on a window of the file. (An event parser in C was tried: it ends the
whole file at `NaN` or at an integer of more than 64 bits, both of which Python's own `json` writes, puts
"?" for half of a surrogate pair without a word, and needs memory in the square of the nesting.)
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WINDOW = 1 << 18  # characters read at a time
LONGEST = 1 << 26  # characters of one value; images as data: URIs stay far below
_NEAR_END = 16  # characters: an error this close to the window's end may be only a cut literal
_BLANK = " \t\n\r"


class JsonFault(ValueError):
    """The text is no JSON from here on; the message says where."""


class JsonText:
    """The values of a JSON file, in turn. Bytes that are no UTF-8 become lone surrogates."""

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
        """The next character that is not blank; empty at the end."""
        while True:
            while self._at < len(self._window) and self._window[self._at] in _BLANK:
                self._at += 1
            if self._at < len(self._window) or not self._more():
                return self._window[self._at : self._at + 1]

    def take(self, wanted: str) -> None:
        """Step over one character, which must be `wanted`."""
        if self.peek() != wanted:
            raise self._fault(f'"{wanted}" expected')
        self._at += 1

    def value(self) -> Any:
        """The next value, whole."""
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
        """The elements of the list that is next."""
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
        """The keys of the object that is next; the caller takes each value before the next key."""
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
        """Nothing may follow."""
        if self.peek():
            raise self._fault("something follows the end of the list")

    def _final(self, error: json.JSONDecodeError) -> bool:
        """Whether more of the file cannot mend what is wrong."""
        if len(self._window) - self._at > LONGEST:
            return True
        cut = error.msg.startswith("Unterminated") or error.pos >= len(self._window) - _NEAR_END
        return not cut

    def _more(self) -> bool:
        """Move on to what is not taken yet, and read as much again behind it."""
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
    """The value of one line of JSON Lines; raises `JsonFault`."""
    try:
        return json.loads(line.decode("utf-8-sig", "surrogateescape"))
    except json.JSONDecodeError as error:
        raise JsonFault(f"column {error.colno}: {error.msg}") from error
    except RecursionError:
        raise JsonFault("nested too deeply") from None
    except ValueError as error:
        raise JsonFault(str(error).split(";")[0]) from error
