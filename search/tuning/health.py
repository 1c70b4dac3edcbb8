"""A look at storage, disk and lease while trials run: a search that cannot go on ends at once."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import tune

from search.tuning.run_lease import check_run_lease
from spaces.errors import MachineError
from spaces.storage import check_storage

PAUSE_SECONDS = 1.0
"""Seconds between two looks."""
LEAST_FREE = 1 << 20
"""Bytes of the disk below which nothing more is begun."""
FULL = (errno.ENOSPC, errno.EDQUOT)
"""Errors of a disk, or a user's part of it, that is full."""


class Health(tune.Callback):
    """Callback of Tune that raises `MachineError` if storage, disk or lease are lost."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self._next = 0.0

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + PAUSE_SECONDS
            self.look()

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.look()
        if disk_is_full_by(_error_text(trial)):
            raise MachineError(f'the disk of "{self.run}" is full, or your quota of it')

    def look(self) -> None:
        """Raise `MachineError` if the search cannot go on."""
        try:
            check_storage(self.run)
            check_run_lease(self.run)
            free = shutil.disk_usage(self.run).free
        except OSError as error:
            raise MachineError(str(error)) from error
        if free < LEAST_FREE:
            raise MachineError(f'the disk of "{self.run}" is full: {free / 1e6:.1f} MB are free')


def disk_is_full_by(text: str) -> bool:
    """Return whether an error's text says that a disk is full."""
    return any(os.strerror(number) in text for number in FULL)


def _error_text(trial: Any) -> str:
    getter: Callable[[], Any] | None = getattr(trial, "get_error", None)
    try:
        return str(getter()) if getter else ""
    except Exception:  # Tune reads a file of its own that a full disk may not hold
        return ""
