"""Deaths and errors of Ray: the search is resumed once in a new program, else ends with one line."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from search.resources.ray_start import kill_children, note_traceback
from spaces.errors import MachineError, first_line

ROOT = Path(__file__).parents[2]
AGAIN = "CITUNE_RAY_AGAIN"
"""Environment variable with the folder of a search that was resumed after Ray had died."""


def resume_in_new_program(run: Path, name: str, time_budget: float | None) -> NoReturn:
    """Replace this program by one that resumes the search; raise `MachineError` the second time.

    `name` is the process of Ray that died. Its threads in this program may hang or abort; a new program
    has none of them.
    """
    kill_children(set())
    if os.environ.get(AGAIN) == str(run):
        raise MachineError(f"{display_name(name)} died a second time")
    print(f"{display_name(name)} died: the search is resumed once", flush=True)
    budget = [] if time_budget is None else ["--time-budget", f"{time_budget:g}"]
    command = [sys.executable, str(ROOT / "search" / "run.py"), "--resume", "--name", run.name]
    environment = {**os.environ, AGAIN: str(run)}
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, [*command, "--storage", str(run.parent), *budget], environment)


@contextlib.contextmanager
def print_if_process_dies(words: str) -> Iterator[None]:
    """Have a shell print `words` to stderr if this process dies in the block.

    Ray's core ends this process without an exception if the control process dies while the two connect.
    It holds Python's lock until then, so no thread of this process could print anything.
    """
    # `read` fails at the end of the pipe, which the death of this process closes.
    script = 'read -r line || printf "%s\\n" "$1" >&2'
    shell = subprocess.Popen(
        ["/bin/sh", "-c", script, "sh", words], stdin=subprocess.PIPE, start_new_session=True
    )
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # a shell that was killed has nothing to say
            shell.communicate(b"alive\n")


def display_name(name: str) -> str:
    """Return a process of Ray as messages name it."""
    return {"raylet": "Ray's raylet", "gcs_server": "Ray's control process"}.get(name, "Ray")


def worker_fault(error: Exception, log: Path) -> MachineError:
    """Return an error of Tune or Ray as a `MachineError` of one line; its traceback goes to `log`."""
    return MachineError(
        f"the search was ended by an error of its workers ({first_line(error)[:300]}); "
        f"{note_traceback(log, error)}"
    )
