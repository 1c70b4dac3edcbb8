"""Leases on stages in the making, so that trials that want the same one train it once."""

from __future__ import annotations

import contextlib
import json
import math
import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil

LEASE_SECONDS = 60.0
"""Age at which a lease may be taken over from an owner on another machine."""
POLL_SECONDS = 0.1
"""Seconds between two attempts to take a lease."""
RENEWALS = 6
"""Number of renewals within `LEASE_SECONDS`."""


class HeldError(TimeoutError):
    """A lease that its owner has not given back in time."""


class Lease:
    """A file that names its owner; if it grows old, an owner on another machine counts as dead.

    A lease saves work and guards nothing. If two processes make one stage, because a living owner was
    taken for dead, the store keeps the first publication.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.owner = _this_process() | {"token": uuid.uuid4().hex}
        self.waited = 0.0

    def take(self) -> bool:
        """Take the lease if it is free, or its owner has died."""
        path = self.path
        with contextlib.suppress(FileNotFoundError):
            content = path.read_text()
            if not alive(path):
                self._clear(content)
        try:
            with open(path, "x") as file:
                file.write(json.dumps(self.owner))
        except FileExistsError:
            return False
        return True

    def renew(self) -> None:
        """Renew the lease; a failure is left to the next renewal."""
        with contextlib.suppress(OSError):
            os.utime(self.path)

    def give_back(self) -> None:
        """Release the lease, unless another process has taken it over."""
        with contextlib.suppress(FileNotFoundError):
            if self.path.read_text() == json.dumps(self.owner):
                self.path.unlink()

    def _clear(self, content: str) -> None:
        """Remove the lease if it still has this content; one taken meanwhile is put back."""
        aside = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex}")
        os.rename(self.path, aside)
        if aside.read_text() != content:
            with contextlib.suppress(FileExistsError):
                os.link(aside, self.path)
        aside.unlink()


def alive(path: Path) -> bool:
    """Return whether the owner of a lease is alive; raises `FileNotFoundError` if nobody has it."""
    content, age = path.read_text(), time.time() - path.stat().st_mtime
    return age <= LEASE_SECONDS and not _dead(content)


@contextlib.contextmanager
def hold_lease(path: Path, patience: float = math.inf) -> Iterator[Lease]:
    """Hold the lease at `path`, after waiting for its present owner, and renew it meanwhile.

    Raises `HeldError` after `patience` seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lease, start = Lease(path), time.monotonic()
    while not lease.take():
        if time.monotonic() - start >= patience:
            raise HeldError(f"{path} is held by another process")
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


def _renewing(lease: Lease, over: threading.Event) -> None:
    while not over.wait(LEASE_SECONDS / RENEWALS):
        lease.renew()


def _this_process() -> dict[str, str | int | float]:
    process = psutil.Process()
    # The network address too: containers on several machines may have one name.
    machine = f"{platform.node()}/{uuid.getnode():x}"
    return {"machine": machine, "pid": process.pid, "started": process.create_time()}


def _dead(content: str) -> bool:
    """Return whether the owner ran on this machine and has ended."""
    try:
        owner = json.loads(content)
        if owner["machine"] != _this_process()["machine"]:
            return False
        return psutil.Process(owner["pid"]).create_time() != owner["started"]
    except psutil.NoSuchProcess:
        return True
    except (ValueError, KeyError, TypeError, psutil.Error):
        return False  # half written, or of another program: its age decides
