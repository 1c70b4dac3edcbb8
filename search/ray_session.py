"""Ray around a search: its start, and the faults that end a session.

When a process of Ray dies, the search is resumed once in a new program. Other errors of Tune, disk and
storage become a `MachineError`, which the command prints as one line.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from search.interruption import InterruptedSearch, catch_signals, caught
from search.resources.cluster import connect
from search.resources.ray_again import print_if_process_dies, worker_fault
from search.resources.ray_watch import RayDiedError, dead_process, noted_deaths
from search.run_end import resume_command
from search.tuning.run_lease import check_run_lease
from spaces.errors import InputError, MachineError, first_line

RAY_LOG = "ray-error.log"
"""File in a search's folder for errors of Ray that are too long for a line."""


@contextlib.contextmanager
def resumable(run: Path, command: str = "") -> Iterator[None]:
    """Turn errors of disk and storage into a `MachineError` that names the command to resume."""
    command = command or resume_command(run)
    try:
        yield
    except MachineError as error:
        raise MachineError(
            f"{error}; what is finished is safe: {command} goes on with it"
        ) from error
    except OSError as error:
        raise MachineError(
            f'"{run}" cannot be written ({first_line(error)}); what is finished is safe: '
            f"{command} goes on with it"
        ) from error


def dead_process_behind(error: BaseException) -> str:
    """Return the name of the process of Ray whose death raised an error; empty if a signal did."""
    if isinstance(error, RayDiedError):
        return str(error)
    return noted_deaths[-1] if noted_deaths and not caught else ""


def start_workers(cpus: int, run: Path) -> None:
    """Connect to Ray, and put this search's signal handlers in place of Ray's."""
    words = (
        "error: Ray ended this process while the two connected, for its control process died; what is "
        f"finished is safe: {resume_command(run)} goes on with it"
    )
    try:
        with print_if_process_dies(words):
            connect(cpus, run / RAY_LOG)
    except InputError as error:
        raise InputError(f"{error}; then {resume_command(run)} goes on") from error
    except SystemExit as error:  # Ray's own handler of SIGTERM, while it started
        raise InterruptedSearch(int(error.code or 0)) from error
    finally:
        catch_signals()


def fault_behind(error: Exception, run: Path) -> BaseException:
    """Return the exception to raise for an error of Tune: its real cause, or a `MachineError` of one line.

    Ray wraps an exception that a signal handler raises within a call of its core. So the causes are
    searched for a signal, a death of Ray, and faults of the disk or the lease, in this order.
    """
    causes = list(causes_of(error))
    for kind in (KeyboardInterrupt, RayDiedError, MachineError):
        for cause in causes:
            if isinstance(cause, kind):
                return cause
    if name := dead_process():
        return RayDiedError(name)
    for cause in causes:
        if isinstance(cause, OSError):
            return cause
    check_run_lease(run)
    return worker_fault(error, run / RAY_LOG)


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes, the nearest first."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
