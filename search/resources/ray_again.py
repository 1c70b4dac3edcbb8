"""One more try after Ray has died: the search goes on in a new program."""

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
"""Variable that is set for a search that goes on after Ray has died once."""


def search_again(run: Path, name: str, time_budget: float | None) -> NoReturn:
    """Replace this program by one that resumes the search, or raise `MachineError` at the second time.

    Threads of a Ray that has died may hang or abort; a new program has none of them.
    """
    kill_children(set())
    if os.environ.get(AGAIN) == str(run):
        raise MachineError(f"{described(name)} died a second time")
    print(f"{described(name)} died: the search is resumed once", flush=True)
    budget = [] if time_budget is None else ["--time-budget", f"{time_budget:g}"]
    command = [sys.executable, str(ROOT / "search" / "run.py"), "--resume", "--name", run.name]
    environment = {**os.environ, AGAIN: str(run)}
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, [*command, "--storage", str(run.parent), *budget], environment)


@contextlib.contextmanager
def last_words(words: str) -> Iterator[None]:
    """Have a shell print `words` to stderr if this process dies in the block.

    Ray's core ends its process without an exception if the control process dies while the two connect,
    and it holds Python's lock until then: no thread of this process can say so.
    """
    script = 'read -r line || printf "%s\\n" "$1" >&2'
    shell = subprocess.Popen(
        ["/bin/sh", "-c", script, "sh", words], stdin=subprocess.PIPE, start_new_session=True
    )
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # a shell that was killed has nothing to say
            shell.communicate(b"alive\n")


def described(name: str) -> str:
    """Return a process of Ray by a name that people know."""
    return {"raylet": "Ray's raylet", "gcs_server": "Ray's control process"}.get(name, "Ray")


def start_over(error: Exception, log: Path) -> MachineError:
    """Return an error of Tune or Ray as one line; the traceback goes to a log."""
    return MachineError(
        f"the search was ended by an error of its workers ({first_line(error)[:300]}); "
        f"{note_traceback(log, error)}"
    )
