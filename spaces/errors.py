"""Exception for a caller's mistake, and the messages about wrong values and unknown names."""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Iterable

from spaces.secrets import masked

MOST_SHOWN = 80
"""Characters of a user's value that a message repeats."""
MOST_LINE = 990
"""Characters of a line of a message."""
MOST_LISTED = 24
"""Known names that a message lists."""


class InputError(ValueError):
    """Mistake in the user's input: the message says what must hold, what was got, what would do.

    The commands print it as one line (or one list) and exit with status 2, before any worker starts.
    """

    def __init__(self, message: object = "") -> None:
        # Whoever puts a value of 100,000 characters into a message still gets a line to read.
        text = masked(str(message))
        lines = re.sub(r"[\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]", " ", text).split("\n")
        super().__init__("\n".join(shortened(line, MOST_LINE) for line in lines))


class _Short(reprlib.Repr):
    """Short representation of a value of any size, made in bounded time."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = MOST_SHOWN
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = 4
        self.maxlevel = 3

    def repr_str(self, x: str, level: int) -> str:
        return super().repr_str(masked(x), level)  # before it is cut

    def repr_int(self, x: int, level: int) -> str:
        # Python refuses to write out integers of more than 4300 digits.
        return super().repr_int(x, level) if x.bit_length() < 4096 else "a number of > 1,000 digits"


def shown(value: object) -> str:
    """Return a user's value as a message repeats it: in one line, shortened in the middle."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return f"'{shortened(plain(value), MOST_SHOWN)}'"
    return shortened(plain(_Short().repr(value)), 2 * MOST_SHOWN)


def plain(text: str) -> str:
    """Return a text in one line, without secrets; what a terminal does not show is escaped."""
    start = masked(text[: 4 * MOST_LINE])
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in start)


def shortened(text: str, most: int = MOST_SHOWN) -> str:
    """Return a text of at most `most` characters, with a gap in its middle if it is longer."""
    if len(text) <= most:
        return text
    half = (most - 5) // 2
    return f"{text[:half]} ... {text[-half:]}"


class DamagedError(InputError):
    """File that is not as it was written: cut, flipped, edited, or in another's place."""


def unknown(kind: str, got: object, known: Iterable[str]) -> InputError:
    """Return an `InputError` for a name outside `known`, with the nearest valid one."""
    names = sorted(known)
    name = shortened(plain(str(got)), MOST_SHOWN)
    return InputError(f'unknown {kind} "{name}"; known: {listed(names)}{nearest(got, names)}')


def listed(names: Iterable[str]) -> str:
    """Return names separated by commas; of many, the first ones and the number of the others."""
    names = list(names)
    more = f" and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else ""
    return ", ".join(shortened(plain(name), 60) for name in names[:MOST_LISTED]) + more


def nearest(got: object, known: Iterable[str]) -> str:
    """Return a question that suggests the nearest known name; empty if none is near."""
    near = difflib.get_close_matches(str(got)[:200], sorted(known), n=1, cutoff=0.5)
    return f' — did you mean "{shortened(near[0])}"?' if near else ""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type if it has none."""
    lines = masked(str(error)).strip().splitlines()
    return lines[0] if lines else type(error).__name__


class MachineError(RuntimeError):
    """Fault of the machine: a full disk, a storage that went away, a dead Ray.

    The commands print it as one line and exit with `MACHINE_STATUS`; what is finished stays finished.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(masked(str(message)))


MACHINE_STATUS = 3
"""Exit status of a command that a fault of the machine ended."""
