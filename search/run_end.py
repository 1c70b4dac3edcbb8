"""The end of a search: its tables and report, what is left to do, and the exit status."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from search.report.html import write_report
from search.report.terminal import show_results
from search.results.answer import why_no_answer
from search.results.outcome import read_outcome
from search.results.sums import RESULTS, summed
from search.results.tables import write_tables
from spaces.damage import DamageWatch
from spaces.errors import InputError, MachineError, first_line
from spaces.files import fits_on_disk

REPORT_BYTES = 10e6
"""Bytes that tables and report of a small search take, with some to spare."""
ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Ending:
    """End of the trials of a session, and its cause: none (all have ended), a signal or the time budget."""

    unended: int = 0
    """Number of trials that have not ended."""
    signum: int = 0
    """Number of the signal that ended the search; 0 if none did."""
    cut_short: bool = False
    """True if Ray was killed, so that its exit handlers must not run in this program."""
    unconfirmed: int = 0
    """Number of runs of the confirmation that are left."""
    budget: float | None = None
    """Seconds of the time budget, if it ended the search."""
    failed: list[str] = field(default_factory=list)
    """Names of the trials that failed in this session."""
    errors: str = ""
    """Note on where the whole errors of Tune are to be read; empty if there were none."""


def resume_command(run: Path) -> str:
    """Return the command that goes on with a search."""
    where = "" if run.parent == ROOT / "results" else f" --storage {shlex.quote(str(run.parent))}"
    return f"python search/run.py --resume --name {run.name}{where}"


def write_results(run: Path, ending: Ending) -> int:
    """Write tables and report; return the exit status. Raises `MachineError` if the disk is full."""
    print("writing tables and report", flush=True)
    try:
        if not fits_on_disk(run, REPORT_BYTES):
            raise OSError(f"less than {REPORT_BYTES / 1e6:.0f} MB are free")
        with summed(run, RESULTS):
            write_tables(run)
            write_report(run)
    except OSError as error:
        raise MachineError(
            f'tables and report cannot be written to "{run}" ({first_line(error)}), and every trial is '
            f"safe: make room, then python search/analyze.py {shlex.quote(str(run))} writes them"
        ) from error
    except InputError:  # no trial has begun
        if not ending.signum:
            raise
        print("there is nothing to report yet", flush=True)
    return 128 + ending.signum if ending.signum else 0


def show_end(run: Path, ending: Ending, status: int, damage: DamageWatch, seconds: float) -> int:
    """Print the outcome and what is left to do; return the exit status, 1 if there is no answer."""
    resume = resume_command(run)
    damage.tell()
    if ending.signum:
        name = signal.Signals(ending.signum).name
        print(f"interrupted by {name}: {resume} goes on with it", flush=True)
        return status
    show_results(run)
    missing = why_no_answer(read_outcome(run))
    if ending.budget is not None:
        print(
            f"The time budget of {ending.budget:g} s ended with {ending.unended} trials to go: "
            f"{resume} --time-budget {suggested_budget(ending.budget)} goes on with them"
        )
    if ending.unconfirmed:
        print(f"Not confirmed yet: {ending.unconfirmed} runs are left; {resume} goes on with them")
    if ending.failed:
        where = f" ({ending.errors})" if ending.errors else ""
        print(f"Failed: {', '.join(ending.failed)}{where}; {resume} tries them again")
    if missing:
        print(missing)
    print(f"done in {seconds:.0f} s", flush=True)
    return int(bool(missing))


def end_in_new_program(run: Path, signum: int) -> NoReturn:
    """Replace this program by one that writes the results of a search that a signal ended.

    Ray's control process has been killed by then. Ray's core ends this process a minute later, and a report
    may take longer.
    """
    code = (
        f"import sys; from {__name__} import write_and_show; "
        f"sys.exit(write_and_show(sys.argv[1], {int(signum)}))"
    )
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
    sys.stdout.flush()
    sys.stderr.flush()
    command = [sys.executable, "-c", code, str(run)]
    os.execve(sys.executable, command, {**os.environ, "PYTHONPATH": path})


def write_and_show(folder: str, signum: int) -> int:
    """Write and print the results of a search that a signal ended; return the exit status."""
    from search.exit_status import damage_told, guarded

    run, ending = Path(folder), Ending(signum=signum, cut_short=True)
    with damage_told(run.parent, run) as damage:
        return guarded(lambda: show_end(run, ending, write_results(run, ending), damage, 0.0))


def suggested_budget(budget: float) -> int:
    """Return the time budget to propose after a smaller one ended the search."""
    return max(600, round(4 * budget))
