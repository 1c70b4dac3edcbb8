"""Leases: who makes a stage now, so that trials that want the same one train it once."""

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
"""A stage whose owner, on another machine, has not been heard of for so long may be taken over."""
POLL_SECONDS = 0.1
"""Between two looks at a lease that another has."""
RENEWALS = 6
"""How often an owner is heard of in that time."""


class HeldError(TimeoutError):
    """Another has the lease, and has not given it back in time."""


class Lease:
    """A file that names its owner; its age says whether an owner on another machine is alive.

    A lease saves work and guards nothing: where two processes do make one stage, as when an owner was
    taken for dead, the store keeps what was published first.
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
        """Say that the owner is alive; where that fails this time, the next may do."""
        with contextlib.suppress(OSError):
            os.utime(self.path)

    def give_back(self) -> None:
        """Free the lease, unless another has taken it over."""
        with contextlib.suppress(FileNotFoundError):
            if self.path.read_text() == json.dumps(self.owner):
                self.path.unlink()

    def _clear(self, content: str) -> None:
        """Remove the lease that reads so; one that somebody else took meanwhile is put back."""
        aside = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex}")
        os.rename(self.path, aside)
        if aside.read_text() != content:
            with contextlib.suppress(FileExistsError):
                os.link(aside, self.path)
        aside.unlink()


def alive(path: Path) -> bool:
    """Whether the owner of a lease lives; raises `FileNotFoundError` if nobody has it."""
    content, age = path.read_text(), time.time() - path.stat().st_mtime
    return age <= LEASE_SECONDS and not _dead(content)


@contextlib.contextmanager
def hold_lease(path: Path, patience: float = math.inf) -> Iterator[Lease]:
    """The lease at `path`, after waiting for whoever has it; renewed until it is given back.

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
    """Whether the owner ran on this machine, and does no more."""
    try:
        owner = json.loads(content)
        if owner["machine"] != _this_process()["machine"]:
            return False
        return psutil.Process(owner["pid"]).create_time() != owner["started"]
    except psutil.NoSuchProcess:
        return True
    except (ValueError, KeyError, TypeError, psutil.Error):
        return False  # being written, or none of ours: its age decides
