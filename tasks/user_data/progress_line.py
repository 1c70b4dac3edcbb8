"""Progress of long work: a line to stderr every few seconds, with an estimate of the time left.

Not `rich.progress`, which writes nothing before the end where stderr is a log file.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType

INTERVAL = 5.0
"""Seconds between two lines; shorter work writes none."""


class ProgressLine:
    """Writer of progress lines about `work`."""

    def __init__(self, work: str) -> None:
        self.work = work
        self._begun = self._last_line = time.monotonic()

    def __enter__(self) -> ProgressLine:
        return self

    def report(self, share: float) -> None:
        """Write a line if it is time for one; `share` of the work, from 0 to 1, is done."""
        now = time.monotonic()
        if now - self._last_line < INTERVAL:
            return
        self._last_line, spent = now, now - self._begun
        left = f", about {_period(spent / share - spent)} left" if share > 0.01 else ""
        print(f"{self.work}: {min(share, 1):.0%}{left}", file=sys.stderr, flush=True)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        spent = time.monotonic() - self._begun
        if kind is None and spent >= INTERVAL:
            print(f"{self.work}: done in {_period(spent)}", file=sys.stderr, flush=True)


def _period(seconds: float) -> str:
    return f"{max(0, seconds):.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
