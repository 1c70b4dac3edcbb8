"""A line now and then about work that takes long: how far it is, and how long it may take yet."""

from __future__ import annotations

import sys
import time
from types import TracebackType

QUIET = 5.0  # seconds: what takes less says nothing; then the pause between two lines


class Waiting:
    """Hears which share is done, and writes a line to stderr every few seconds."""

    def __init__(self, what: str) -> None:
        self.what = what
        self._begun = self._said = time.monotonic()

    def __enter__(self) -> Waiting:
        return self

    def told(self, share: float) -> None:
        """`share` from 0 to 1 of the work is done."""
        now = time.monotonic()
        if now - self._said < QUIET:
            return
        self._said, spent = now, now - self._begun
        left = f", about {_period(spent / share - spent)} left" if share > 0.01 else ""
        print(f"{self.what}: {min(share, 1):.0%}{left}", file=sys.stderr, flush=True)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        spent = time.monotonic() - self._begun
        if kind is None and spent >= QUIET:
            print(f"{self.what}: done in {_period(spent)}", file=sys.stderr, flush=True)


def _period(seconds: float) -> str:
    return f"{max(0, seconds):.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
