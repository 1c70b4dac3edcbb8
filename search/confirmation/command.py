"""The command that confirms a finished search."""

from __future__ import annotations

import dataclasses
import signal
import sys
from pathlib import Path

from search.confirmation.answer import result_lines
from search.confirmation.confirm import confirm, confirm_command, planned
from search.confirmation.finalists import ConfirmationRecord
from search.confirmation.sentences import called
from search.confirmation.verdict import judge
from search.interruption import signal_behind
from search.plan.resolve import check_unchanged, resolve_plan, resumed_plan
from search.prepared_search import prepare_search
from search.ray_session import dead_process_behind
from search.resources.ray_watch import RayDiedError
from search.results.outcome import read_outcome
from spaces.errors import MACHINE_STATUS, InputError


def confirm_run(
    run: Path, finalists: int | None, units: int | None, prefer: str | None, dry_run: bool
) -> int:
    """Confirm the search in a folder; return the exit status, 1 if it cannot tell anything apart.

    Numbers and the preference that are None are those of the search's plan.
    """
    for flag, number in (("--finalists", finalists), ("--units", units)):
        if number is not None and number < 1:
            raise InputError(f"{flag} must be at least 1, got {number}")
    outcome = read_outcome(run)
    plan = resumed_plan(run)
    plan = dataclasses.replace(plan, prefer=prefer or plan.prefer)
    resolved = resolve_plan(plan, run.name, run.parent, resume=True)
    check_unchanged(resolved)
    asked = (finalists or plan.confirm or None, units or plan.confirm_seeds)
    confirmation = planned(outcome, resolved, *asked)
    print("\n".join(plan_lines(confirmation)), flush=True)
    if dry_run:
        return 0
    try:
        results = confirm(prepare_search(resolved), confirmation)
    except (KeyboardInterrupt, RayDiedError) as error:
        return cut_short(error, run)
    print("\n".join(["", *result_lines(results)]), flush=True)
    return int(judge(results).kind == "cannot tell")


def cut_short(error: BaseException, run: Path) -> int:
    """Say what ended a confirmation, and how to go on with it; return the exit status."""
    name = dead_process_behind(error)
    signum = signal_behind(error) if isinstance(error, KeyboardInterrupt) else signal.SIGINT
    cause = f"{name} died" if name else f"ended by {signal.Signals(signum).name}"
    print(
        f"error: {cause}; what is finished is safe: {confirm_command(run)} goes on with it",
        file=sys.stderr,
    )
    return MACHINE_STATUS if name else 128 + signum


def plan_lines(plan: ConfirmationRecord) -> list[str]:
    """Return what a confirmation trains at most, in lines."""
    names = ", ".join(called(finalist) for finalist in plan.finalists)
    tasks, looks = len(plan.units[0]["ordering"]), ", ".join(map(str, plan.looks))
    most = len(plan.finalists) * len(plan.units) * tasks
    if plan.most_stages is not None:
        most = min(most, max(plan.most_stages, len(plan.finalists) * plan.looks[0] * tasks))
    return [
        f"finalists   {names}",
        f"units       {len(plan.units)} at most, compared after {looks}: at most {most} stages",
        *(f"  unit {n}    {'>'.join(u['ordering'])}" for n, u in enumerate(plan.units, start=1)),
    ]
