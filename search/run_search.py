"""A prepared search run to its end: Ray, Tune, then tables and report."""

from __future__ import annotations

import datetime
import time
from pathlib import Path

import ray
from ray.tune import Callback

from search.plan.resolved_plan import ResolvedPlan
from search.plan.saved_plan import read_saved_plan, record_plan, write_saved_plan
from search.prepared_search import PreparedSearch
from search.report.html import write_report
from search.report.terminal import show_results
from search.resources.cluster import connect
from search.resources.precompute_features import precompute_features
from search.resources.stage_counts import count_stages
from search.resources.store_limit import StoreLimit
from search.results.tables import write_tables
from search.tuning.prior_run import PriorRun, recover_proposals, reuse_prior_run
from search.tuning.progress import Progress
from search.tuning.recorded_plan import keep_plan
from search.tuning.restored_trials import restore_trials, restored_lines
from search.tuning.tuner import build_searcher, build_tuner
from spaces.errors import InputError
from spaces.references import REFERENCES
from trainables.store.leases import HeldError, hold_lease


def run_search(search: PreparedSearch, start: float) -> int:
    """Search until the plan is done or interrupted, then write tables and report.

    Returns the exit status: 1 if every proposed trial failed or diverged, 130 after Ctrl-C. `start` is
    the monotonic time at which the command began.
    """
    run = search.resolved.run
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f'"{run}" cannot be made: {error.strerror}') from error
    try:
        with hold_lease(run / "lease", patience=0.0):
            save_plan(search.resolved, search.prior_run)
            interrupted = run_trials(search)
            add_seconds(run, time.monotonic() - start)
    except HeldError:
        raise InputError(
            f'a search is run by one process at a time, and another runs "{run.name}" now: '
            "wait for it, or start anew with another --name"
        ) from None
    print("writing tables and report", flush=True)
    trials = write_tables(run).trials
    write_report(run)
    if interrupted:
        print(f"interrupted: --resume --name {run.name} continues it")
        return 130
    show_results(run)
    print(f"done in {time.monotonic() - start:.0f} s")
    states = {trial["state"] for trial in trials if trial["name"] not in REFERENCES}
    return int(bool(states) and states <= {"failed", "diverged"})


def save_plan(resolved: ResolvedPlan, prior_run: PriorRun | None = None) -> None:
    """Write `plan.json`; a resumed search keeps its start and its seconds."""
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


def run_trials(search: PreparedSearch) -> bool:
    """Run the trials that are left; return whether Ctrl-C, which Tune handles, interrupted them."""
    resolved, lanes = search.resolved, search.packing.lanes
    prior_run = search.prior_run
    if resolved.resumed:
        prior_run = recover_proposals(resolved) or prior_run
        for line in restored_lines(*restore_trials(resolved.run)):
            print(line, flush=True)
    searcher, stages = build_searcher(resolved, prior_run), resolved.panel.stages
    keep_plan(searcher.study, resolved.run)
    if prior_run:
        reuse_prior_run(resolved, searcher, prior_run)
    if not searcher.trials_left():
        return False
    print("starting Ray and the workers", flush=True)
    try:
        connect(lanes * resolved.plan.workers_per_trial + 1)  # one for the trials themselves
    except InputError as error:
        raise InputError(f"{error}; then --resume --name {resolved.run.name} goes on") from error
    resolved = precompute_features(resolved, search.needs, lanes)
    trials = resolved.plan.samples + len(REFERENCES)
    progress = Progress(resolved.run, trials, stages, lanes, resolved.plan.directions())
    callbacks: list[Callback] = [progress]
    if resolved.plan.store_limit is not None:
        callbacks.append(StoreLimit(resolved.run.parent, resolved.plan.store_limit))
    try:
        build_tuner(resolved, searcher, lanes, callbacks).fit()
    finally:
        progress.close()
    ray.shutdown()
    return bool(searcher.trials_left()) and resolved.plan.time_budget is None


def add_seconds(run: Path, seconds: float) -> None:
    """Add the wall time of this session to those before it."""
    plan = read_saved_plan(run)
    write_saved_plan(run, plan.model_copy(update={"seconds": plan.seconds + seconds}))
