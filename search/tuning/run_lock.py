"""The one process that writes a search's folder, and the storage that it lies in."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

from search.tuning.run_lease import RUN_LEASE
from spaces.errors import InputError, MachineError, first_line
from spaces.files import write_atomically
from spaces.storage import MARKER, mark_storage
from trainables.store.leases import HeldError, held_by, hold_lease

logger = logging.getLogger(__name__)
LEAST_FREE = 20e6
"""Bytes that must be free before a search begins: its report alone takes a quarter."""
LOCK = ".lock"
"""File in a search's folder that its process locks."""


def begin_storage(run: Path) -> str:
    """Make a search's folder in its storage, mark both, and ask for free space; return the storage's id."""
    try:
        storage_id = mark_storage(run.parent)
        run.mkdir(exist_ok=True)
        free = shutil.disk_usage(run).free
        if free < LEAST_FREE:
            raise MachineError(
                f'the disk of "{run}" must have {LEAST_FREE / 1e6:.0f} MB free before a search begins, '
                f"got {free / 1e6:.1f} MB"
            )
        write_atomically(run / MARKER, storage_id)
        return storage_id
    except OSError as error:
        raise InputError(
            f'"{run}" cannot be made: {error.strerror or first_line(error)}'
        ) from error


@contextlib.contextmanager
def only_writer(run: Path) -> Iterator[None]:
    """Hold a search for this process; raises `InputError` if another runs it."""
    try:
        with _locked(run / LOCK), hold_lease(run / RUN_LEASE, patience=0.0):
            yield
    except HeldError:
        raise InputError(
            f'a search is run by one process at a time, and {held_by(run / RUN_LEASE)} runs "{run.name}" '
            "now: wait for it, or start anew with another --name"
        ) from None


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the kernel's lock on a file, where the file system has one; it ends with this process."""
    with open(path, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HeldError(f"{path} is locked by another process") from None
        except OSError as error:  # no locks on this file system: the lease alone decides
            logger.debug("%s cannot be locked: %s", path, error)
        yield
