"""Exception for a caller's mistake, and the messages about unknown names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Mistake in the user's input: the message says what must hold, what was got, what would do.

    The commands print it as one line (or one list) and exit with status 2, before any worker starts.
    """


class DamagedError(InputError):
    """File that is not as it was written: cut, flipped, edited, or in another's place."""


def unknown(kind: str, got: object, known: Iterable[str]) -> InputError:
    """Return an `InputError` for a name outside `known`, with the nearest valid one."""
    names = sorted(known)
    return InputError(f'unknown {kind} "{got}"; known: {", ".join(names)}{nearest(got, names)}')


def nearest(got: object, known: Iterable[str]) -> str:
    """Return a question that suggests the nearest known name; empty if none is near."""
    near = difflib.get_close_matches(str(got), sorted(known), n=1, cutoff=0.5)
    return f' — did you mean "{near[0]}"?' if near else ""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type if it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


class MachineError(RuntimeError):
    """Fault of the machine: a full disk, a storage that went away, a dead Ray.

    The commands print it as one line and exit with `MACHINE_STATUS`; what is finished stays finished.
    """


MACHINE_STATUS = 3
"""Exit status of a command that a fault of the machine ended."""
