"""Signals that end a search: its tables are still written, and a second signal kills it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

ENDING = (signal.SIGTERM, signal.SIGHUP)
"""Signals of schedulers and closed terminals; Ctrl-C is Tune's while trials run."""

caught: list[int] = []
"""Numbers of the signals that this process's handlers have met."""


class InterruptedSearch(KeyboardInterrupt):
    """Raised where the search is when a signal comes."""

    def __init__(self, signum: int = signal.SIGINT) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum

    @property
    def status(self) -> int:
        """Exit status by the shell's convention: 128 and the signal's number."""
        return 128 + self.signum


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Raise `InterruptedSearch` in the block at the first of `ENDING` signals."""
    before = {signum: signal.getsignal(signum) for signum in ENDING}
    try:
        catch_signals()
        yield
    finally:
        for signum, handler in before.items():
            with contextlib.suppress(ValueError):
                signal.signal(signum, handler)


def catch_signals() -> None:
    """Install the handlers, after Ray has installed its own; other threads than the main one cannot."""
    with contextlib.suppress(ValueError):
        for signum in ENDING:
            if signal.getsignal(signum) != signal.SIG_IGN:  # nohup wants to live on
                signal.signal(signum, _interrupt)


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    kill_at_next()
    caught.append(signum)
    raise InterruptedSearch(signum)


def signal_behind(error: KeyboardInterrupt) -> int:
    """Return the number of the signal that raised an error.

    Within a call of Ray's core, whatever a handler raises becomes a plain `KeyboardInterrupt`.
    """
    if isinstance(error, InterruptedSearch):
        return error.signum
    return caught[-1] if caught else signal.SIGINT


def kill_at_next() -> None:
    """Have the next signal end this process at once."""
    with contextlib.suppress(ValueError):
        for signum in (*ENDING, signal.SIGINT):
            if signal.getsignal(signum) != signal.SIG_IGN:
                signal.signal(signum, signal.SIG_DFL)


def leave(status: int) -> NoReturn:
    """End this process without Ray's exit handlers, which abort if the signal has ended Ray first.

    Ray's processes end with the one that started them.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)
