"""A watch over the Ray that a search started: if it dies, the driver must not wait for it."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

import ray._private.worker as ray_worker

PAUSE_SECONDS = 0.5
"""Seconds between two looks at the processes."""
PATIENCE_SECONDS = 5.0
"""Seconds in which the main thread must take note; it may be stuck in a call of Ray."""
NEEDED = ("raylet", "gcs_server")
"""Processes without which no trial goes on."""
SIGNAL = signal.SIGUSR2
noted_deaths: list[str] = []
"""Names of the processes whose death the main thread has noted."""


class RayDiedError(BaseException):
    """Raised in the main thread when a process of Ray has died; Ray's own handlers let it pass."""


def dead_process() -> str:
    """Return the name of a needed process of this search's own Ray that has ended; empty if all run."""
    node = ray_worker._global_node
    processes = node.all_processes if node is not None else {}
    for name in NEEDED:
        if any(info.process.poll() is not None for info in processes.get(name, ())):
            return name
    return ""


@contextlib.contextmanager
def watching_ray(stuck: Callable[[str], None], pause: float = PAUSE_SECONDS) -> Iterator[None]:
    """Raise `RayDiedError` in the block if a process of Ray dies.

    Calls `stuck` in another thread if the main thread takes no note of it.
    """
    over, noted, name = threading.Event(), threading.Event(), ""

    def note(signum: int, frame: FrameType | None) -> NoReturn:
        noted.set()
        noted_deaths.append(name)
        raise RayDiedError(name)

    def watch() -> None:
        nonlocal name
        while not over.wait(pause):
            if name := dead_process():
                signal.pthread_kill(threading.main_thread().ident or 0, SIGNAL)
                if not noted.wait(PATIENCE_SECONDS) and not over.is_set():
                    stuck(name)
                return

    before = signal.signal(SIGNAL, note)
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(timeout=2 * pause + 1)
        signal.signal(SIGNAL, before)
