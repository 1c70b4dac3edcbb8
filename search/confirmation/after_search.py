"""Confirmation at the end of a search, with the Ray that trained its trials."""

from __future__ import annotations

import dataclasses
import signal
import time

from search.confirmation.command import plan_lines
from search.confirmation.confirm import planned, train_confirmation
from search.confirmation.course import wanted_runs
from search.confirmation.finalists import FOLDER, ConfirmationRecord
from search.confirmation.results import cell_name, read_results
from search.confirmation.scope import SHARE
from search.plan.resolved_plan import ResolvedPlan
from search.plan.search_plan import SearchPlan
from search.results.answer import why_no_answer
from search.results.outcome import read_outcome
from search.run_end import Ending
from search.tuning.restored_trials import NoRunner, replay
from spaces.errors import InputError
from trainables.config import TrialConfig
from trainables.store.stage_store import StageStore
from trainables.trial import PanelTrial


def search_budget(plan: SearchPlan) -> float | None:
    """Return the part of the plan's time budget that its trials may use, in seconds; None without one."""
    if plan.time_budget is None or plan.confirm == 0:
        return plan.time_budget
    return plan.time_budget * (1 - SHARE)


def wanted_confirmation(resolved: ResolvedPlan) -> ConfirmationRecord | None:
    """Return the confirmation that a search whose trials have ended still needs; None if it needs none.

    Runs whose stages are all in the store are taken from it. A search whose only finished trials are
    references is not confirmed, and this is printed.
    """
    if resolved.plan.confirm == 0:
        return None
    outcome = read_outcome(resolved.run)
    if why_no_answer(outcome):
        return None
    try:
        plan = planned(outcome, resolved, resolved.plan.confirm, resolved.plan.confirm_seeds)
    except InputError as error:  # the search itself has an answer, which must not be lost
        print(f"not confirmed: {error}", flush=True)
        return None
    plan.write(resolved.run)
    restore_runs(resolved, plan)
    return plan if wanted_runs(read_results(resolved.run, plan)) else None


def restore_runs(resolved: ResolvedPlan, plan: ConfirmationRecord) -> None:
    """Write the records of all runs whose stages are in the store, look by look, without Ray."""
    folder, store = resolved.run / FOLDER, StageStore(resolved.worker_spec.store)
    configs = {finalist.name: finalist.config for finalist in plan.finalists}
    found = True
    while found:
        found = False
        for number, name, split in wanted_runs(read_results(resolved.run, plan)):
            unit = plan.unit(number)
            trial = PanelTrial(
                TrialConfig.from_dict(configs[name]),
                unit.panel(plan.scored(resolved.panel), split),
                unit.fingerprints(resolved.fingerprints),
                store,
                NoRunner(),
            )
            record = replay(trial, folder, cell_name(number, name, split), "finished", None)
            if record is not None:
                record.write(folder)
                found = True


def confirm_search(
    resolved: ResolvedPlan, plan: ConfirmationRecord, lanes: int, ending: Ending, begun: float
) -> Ending:
    """Train a search's confirmation; return the ending with what is left of it.

    `begun` is the monotonic time at which the search's own trials began: a time budget counts from there.
    """
    budget = resolved.plan.time_budget
    seconds = None if budget is None else max(1.0, budget - (time.monotonic() - begun))
    print("\n".join(["confirming the finalists", *plan_lines(plan)]), flush=True)
    started = time.monotonic()
    left, failed = train_confirmation(resolved, plan, lanes, seconds)
    if not left:
        return ending
    out_of_time = seconds is not None and time.monotonic() - started >= seconds
    signum = 0 if failed or out_of_time else signal.SIGINT
    return dataclasses.replace(ending, unconfirmed=left, signum=ending.signum or signum)
