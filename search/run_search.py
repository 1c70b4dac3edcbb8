"""Run of a prepared search: Ray, Tune, then tables and report.

Trials end with the plan, its time budget or a signal: an `Ending` says which. When a process of Ray dies,
the search is resumed once in a new program. Other errors of Tune, disk and storage become a `MachineError`,
which the command prints as one line.
"""

from __future__ import annotations

import dataclasses
import datetime
import signal
import sys
import time
from pathlib import Path

import ray
from ray.tune import Callback

from search.confirmation.after_search import confirm_search, search_budget, wanted_confirmation
from search.interruption import (
    InterruptedSearch,
    interruptible,
    kill_at_next,
    leave,
    signal_behind,
)
from search.plan.resolved_plan import ResolvedPlan
from search.plan.saved_plan import read_saved_plan, record_plan, write_saved_plan
from search.prepared_search import PreparedSearch
from search.ray_session import (
    RAY_LOG,
    dead_process_behind,
    fault_behind,
    resumable,
    start_workers,
)
from search.resources.precompute_features import precompute_features
from search.resources.ray_again import resume_in_new_program
from search.resources.ray_errors import send_errors_to
from search.resources.ray_start import kill_children
from search.resources.ray_watch import RayDiedError, watching_ray
from search.resources.stage_counts import count_stages
from search.resources.store_limit import StoreLimit
from search.run_end import Ending, end_in_new_program, show_end, write_results
from search.tuning.health import Health
from search.tuning.prior_run import PriorRun, recover_proposals, reuse_prior_run
from search.tuning.progress import Progress
from search.tuning.recorded_plan import keep_plan
from search.tuning.restored_trials import restore_trials, restored_lines
from search.tuning.run_lock import begin_storage, only_writer
from search.tuning.searcher import StudySearcher
from search.tuning.tuner import build_searcher, build_tuner
from spaces.damage import DamageWatch
from spaces.errors import MACHINE_STATUS, MachineError
from spaces.references import REFERENCES


def run_search(search: PreparedSearch, start: float, damage: DamageWatch) -> int:
    """Search until the plan is done or interrupted, then write tables and report.

    Returns the exit status: 1 if the search has no answer, 128 and a signal's number after a signal.
    `start` is the monotonic time at which the command began, and `damage` tells of files set aside.
    Raises `MachineError` if the machine ends the search.
    """
    resolved = search.resolved
    run = resolved.run
    damage.add(run)
    with resumable(run):
        resolved = resolved.with_worker(storage_id=begin_storage(run))
        search = dataclasses.replace(search, resolved=resolved)
        with only_writer(run), interruptible():
            try:
                save_plan(resolved, search.prior_run)
                ending = run_trials(search, start, damage)
            except (KeyboardInterrupt, RayDiedError) as error:
                # Signals and Ray's death look alike: within Ray's core, both are a `KeyboardInterrupt`.
                if name := dead_process_behind(error):
                    add_seconds(run, time.monotonic() - start)
                    damage.tell()  # the program that follows knows nothing of it
                    resume_in_new_program(run, name, budget_left(resolved, start))
                ending = end_by_signal(error)
            add_seconds(run, time.monotonic() - start)
        kill_at_next()  # the tables may take long: who signals again wants no more of them
        if ending.cut_short:
            damage.tell()
            end_in_new_program(run, ending.signum)
        status = write_results(run, ending)
        return show_end(run, ending, status, damage, time.monotonic() - start)


def end_by_signal(error: BaseException) -> Ending:
    """Kill what is left of Ray; return the ending of a search that a signal ended."""
    kill_at_next()
    signum = signal_behind(error) if isinstance(error, KeyboardInterrupt) else signal.SIGINT
    name = InterruptedSearch(signum).args[0]
    print(f"{name}: ending; another signal ends it at once", flush=True)
    kill_children(set())
    return Ending(signum=signum, cut_short=True)


def save_plan(resolved: ResolvedPlan, prior_run: PriorRun | None = None) -> None:
    """Write `plan.json`; a resumed search keeps the time of its start and the seconds spent so far."""
    now = datetime.datetime.now().astimezone()
    times: dict[str, object] = {"started": now.isoformat(timespec="seconds")}
    if resolved.resumed:
        before = read_saved_plan(resolved.run)
        times = {
            name: getattr(before, name) for name in ("started", "seconds", "precompute_seconds")
        }
    stages = count_stages(resolved, prior_run)
    update = {"stages_configured": stages.configured, "stages_distinct": stages.distinct, **times}
    write_saved_plan(resolved.run, record_plan(resolved).model_copy(update=update))


def run_trials(search: PreparedSearch, start: float, damage: DamageWatch) -> Ending:
    """Run the trials that are left; return how they ended.

    Tune handles Ctrl-C itself: it ends the trials and returns. `start` and `damage` are for a new program
    that goes on if Ray dies.
    """
    resolved, lanes = search.resolved, search.packing.lanes
    prior_run = search.prior_run
    if resolved.resumed:
        prior_run = recover_proposals(resolved) or prior_run
        for line in restored_lines(*restore_trials(resolved.run)):
            print(line, flush=True)
    searcher = build_searcher(resolved, prior_run)
    keep_plan(searcher.study, resolved.run)
    if prior_run:
        reuse_prior_run(resolved, searcher, prior_run)
    left = searcher.trials_left()
    if not left and wanted_confirmation(resolved) is None:
        return Ending()  # nothing is left to train: Ray is not needed
    print("starting Ray and the workers", flush=True)
    cpus = lanes * resolved.plan.workers_per_trial + 1  # one for the trials themselves
    with watching_ray(lambda name: resume_while_stuck(resolved, name, start, damage)):
        start_workers(cpus, resolved.run)
        errors = send_errors_to(resolved.run / RAY_LOG)
        resolved = precompute_features(resolved, search.needs, lanes)
        begun = time.monotonic()
        ending = tune_trials(resolved, searcher, lanes) if left else Ending()
        if not ending.signum and (plan := wanted_confirmation(resolved)):
            ending = confirm_search(resolved, plan, lanes, ending, begun)
    ray.shutdown()
    return dataclasses.replace(ending, errors=errors.place)


def tune_trials(resolved: ResolvedPlan, searcher: StudySearcher, lanes: int) -> Ending:
    """Run the trials that are left on the workers; return how they ended."""
    progress = Progress(
        resolved.run,
        resolved.trials,
        resolved.panel.stages,
        lanes,
        resolved.plan.directions(),
        joint_trials=len(resolved.references) // len(REFERENCES),
    )
    callbacks: list[Callback] = [progress, Health(resolved.run)]
    if resolved.plan.store_limit is not None:
        callbacks.append(StoreLimit(resolved.run.parent, resolved.plan.store_limit))
    begun, budget = time.monotonic(), search_budget(resolved.plan)
    try:
        build_tuner(resolved, searcher, lanes, callbacks, budget).fit()
    except Exception as error:
        raise fault_behind(error, resolved.run) from error
    finally:
        progress.close()
    ending = tune_ending(searcher.unended(), searcher.failed, budget, time.monotonic() - begun)
    # A part of the budget was kept for the confirmation; the user knows of the whole.
    return dataclasses.replace(ending, budget=ending.budget and resolved.plan.time_budget)


def resume_while_stuck(
    resolved: ResolvedPlan, name: str, start: float, damage: DamageWatch
) -> None:
    """Resume the search in a new program, from another thread than the main one.

    The main thread is stuck in a call of Ray, and cannot do it.
    """
    damage.tell()
    try:
        with resumable(resolved.run):
            add_seconds(resolved.run, time.monotonic() - start)
            resume_in_new_program(resolved.run, name, budget_left(resolved, start))
    except MachineError as error:
        print(f"error: {error}", file=sys.stderr)
        leave(MACHINE_STATUS)


def tune_ending(unended: int, failed: list[str], budget: float | None, seconds: float) -> Ending:
    """Return how Tune ended, given the number of trials without an end, the seconds allowed and spent.

    Tune returns early for the time budget and for Ctrl-C, and does not say for which.
    """
    if not unended:
        return Ending(failed=failed)
    if budget is not None and seconds >= budget:
        return Ending(unended=unended, budget=budget, failed=failed)
    return Ending(unended=unended, signum=signal.SIGINT, failed=failed)


def budget_left(resolved: ResolvedPlan, start: float) -> float | None:
    """Return the seconds left of the time budget, at least one; None if the plan has no budget."""
    budget = resolved.plan.time_budget
    return None if budget is None else max(1.0, budget - (time.monotonic() - start))


def add_seconds(run: Path, seconds: float) -> None:
    """Add the wall time of this session to that of earlier sessions in `plan.json`."""
    plan = read_saved_plan(run)
    write_saved_plan(run, plan.model_copy(update={"seconds": plan.seconds + seconds}))
