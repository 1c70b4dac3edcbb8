"""Processes that convert several tasks at the same time."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from spaces.errors import MachineError
from tasks.user_data.raw_task import RawTask

WORTH_IT = 1 << 21
"""Bytes of rows below which another process takes longer to start than it saves."""


def convert_together(
    convert: Callable[[RawTask, Path], Path], tasks: Sequence[RawTask], out: Path
) -> list[Path]:
    """Return the folder of each task; large ones are converted in as many processes as there are CPUs.

    Processes try all tasks before the first error is raised. Raises `MachineError` if one of them dies.
    """
    files = [file for task in tasks for some in task.files.values() for file in some]
    many = min(len(os.sched_getaffinity(0)), len(tasks))
    if many < 2 or sum(file.stat().st_size for file in files) < WORTH_IT:
        return [convert(task, out) for task in tasks]
    context = multiprocessing.get_context("spawn")  # a fork may copy a lock that is held
    with ProcessPoolExecutor(many, context, end_with_parent) as pool:
        futures = [pool.submit(convert, task, out) for task in tasks]
        try:
            return [future.result() for future in futures]
        except BrokenProcessPool as error:
            raise MachineError(
                "a process that converts data was killed, perhaps for want of memory; what is "
                "converted is kept: run it again"
            ) from error


def end_with_parent() -> None:
    """Have this process end without a traceback at Ctrl-C, and when the process that started it ends."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_wait_for_end, daemon=True).start()


def _wait_for_end() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)
