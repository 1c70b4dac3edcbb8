"""Leases on stages in the making, so that trials that want the same one train it once."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from spaces.storage import check_storage
from trainables.store.owner import describe, life, this_process

LEASE_SECONDS = 60.0
"""Time without a renewal after which an owner on another machine counts as dead."""
POLL_SECONDS = 0.1
"""Seconds between two attempts to take a lease."""
RENEWALS = 6
"""Number of renewals within `LEASE_SECONDS`."""

logger = logging.getLogger(__name__)
_held: set[str] = set()
"""Tokens of the leases that this process holds."""
_seen: dict[Path, tuple[tuple[str, int], float]] = {}
"""A lease's content and time of renewal, and when this process saw them first."""


class HeldError(TimeoutError):
    """A lease that its owner has not given back in time."""


class Lease:
    """A file that names its owner; if it is not renewed, an owner on another machine counts as dead.

    A lease on a stage saves work and guards nothing. If two processes make one stage, because a living
    owner was taken for dead, the store keeps the first publication.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.token = uuid.uuid4().hex
        self.owner = this_process() | {"token": self.token}
        self.waited = 0.0

    def take(self) -> bool:
        """Take the lease if it is free, or its owner has died."""
        path = self.path
        with contextlib.suppress(FileNotFoundError):
            content = path.read_text(errors="replace")
            if not alive(path):
                self._clear(content)
        try:
            with open(path, "x") as file:
                _held.add(self.token)
                file.write(json.dumps(self.owner))
        except FileExistsError:
            return False
        except OSError:  # a full disk: an empty lease would be waited for
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            raise
        _seen.pop(path, None)
        return True

    def renew(self) -> None:
        """Renew the lease; a failure is left to the next renewal."""
        with contextlib.suppress(OSError):
            os.utime(self.path)

    def lost(self) -> bool:
        """Return whether another process has taken the lease over, or it was removed."""
        try:
            return self.path.read_text(errors="replace") != json.dumps(self.owner)
        except FileNotFoundError:
            return True
        except OSError:
            return False  # a file system that does not answer now

    def give_back(self) -> None:
        """Release the lease, unless another process has taken it over."""
        _held.discard(self.token)
        with contextlib.suppress(OSError):
            if not self.lost():
                self.path.unlink()

    def _clear(self, content: str) -> None:
        """Remove the lease if it still has this content; one taken meanwhile is put back."""
        aside = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex}")
        os.rename(self.path, aside)
        if aside.read_text(errors="replace") != content:
            with contextlib.suppress(FileExistsError):
                os.link(aside, self.path)
        aside.unlink()


def alive(path: Path) -> bool:
    """Return whether the owner of a lease is alive; raises `FileNotFoundError` if nobody has it.

    A process of this machine is asked for. Another machine's must renew its lease.
    """
    content = path.read_text(errors="replace")
    known = life(content)
    if known == "runs":
        return not _of_a_former_life(content)
    return known == "unknown" and not _expired(path, content)


@contextlib.contextmanager
def hold_lease(
    path: Path, patience: float = math.inf, notify: Callable[[str], None] = logger.warning
) -> Iterator[Lease]:
    """Hold the lease at `path`, after waiting for its present owner, and renew it meanwhile.

    Raises `HeldError` after `patience` seconds. After a minute, `notify` is told whom it waits for.
    """
    check_storage(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lease, start, told = Lease(path), time.monotonic(), False
    while not lease.take():
        waited = time.monotonic() - start
        if waited >= patience:
            raise HeldError(f"{path} is held by {held_by(path)}")
        if waited >= LEASE_SECONDS and not told:
            told = True
            notify(f"waiting for {held_by(path)}, which holds {path}")
        time.sleep(POLL_SECONDS)
    lease.waited = time.monotonic() - start
    over = threading.Event()
    thread = threading.Thread(target=_renewing, args=(lease, over), daemon=True)
    thread.start()
    try:
        yield lease
    finally:
        over.set()
        thread.join()
        lease.give_back()


def held_by(path: Path) -> str:
    """Return a description of a lease's owner."""
    try:
        return describe(path.read_text(errors="replace"))
    except OSError:
        return "another process"


def _renewing(lease: Lease, over: threading.Event) -> None:
    while not over.wait(LEASE_SECONDS / RENEWALS) and not lease.lost():
        lease.renew()


def _of_a_former_life(content: str) -> bool:
    """Return whether this process wrote a lease before it replaced its program by a new one."""
    owner = json.loads(content)
    return owner["pid"] == os.getpid() and owner.get("token") not in _held


def _expired(path: Path, content: str) -> bool:
    """Return whether a lease was not renewed for `LEASE_SECONDS`.

    Its age counts by the clock of its file system. A lease whose time lies ahead is watched instead: by
    this process's clock, from the moment at which it was seen first.
    """
    renewed = path.stat().st_mtime_ns
    now, seen = time.monotonic(), (content, renewed)
    first = _seen.get(path)
    if first is None or first[0] != seen:
        first = _seen[path] = (seen, now)
    if now - first[1] > LEASE_SECONDS:
        return True
    if time.time() - renewed / 1e9 <= LEASE_SECONDS:
        return False
    return (_folder_time(path.parent) - renewed) / 1e9 > LEASE_SECONDS


def _folder_time(folder: Path) -> int:
    """Return the present time in nanoseconds as a folder's file system sees it."""
    probe = folder / f".{uuid.uuid4().hex}"
    try:
        probe.touch()
        return probe.stat().st_mtime_ns
    except OSError:
        return time.time_ns()
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)


def taken_by_another(path: Path) -> bool:
    """Return whether a lease is there and this process does not hold it."""
    try:
        owner = json.loads(path.read_text(errors="replace"))
        return owner["token"] not in _held
    except (OSError, ValueError, KeyError, TypeError):
        return False
