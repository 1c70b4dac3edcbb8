"""A watch over the processes of the Ray that a search started.

When one dies, calls of Ray in the main thread may wait for ever. A thread polls the processes, and a signal
makes the main thread raise `RayDiedError`.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

import ray._private.worker as ray_worker

PAUSE_SECONDS = 0.5
"""Seconds between two polls of the processes."""
PATIENCE_SECONDS = 5.0
"""Seconds that the main thread has to handle the signal; a call of Ray may keep it from doing so."""
NEEDED = ("raylet", "gcs_server")
"""Processes without which no trial goes on."""
SIGNAL = signal.SIGUSR2
"""Signal by which the watching thread interrupts the main one."""
noted_deaths: list[str] = []
"""Names of the processes of Ray for whose death the signal was handled.

Within a call of Ray's core, `RayDiedError` may become a plain `KeyboardInterrupt`: this list tells the two
apart.
"""


class RayDiedError(BaseException):
    """Death of a process of Ray, raised in the main thread.

    It is no `Exception`, so that no handler of Ray catches it.
    """


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

    Calls `stuck` in the watching thread if the main thread does not handle the signal in time.
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
