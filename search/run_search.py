"""A prepared plan run to its end: Ray, Tune, then tables and report."""

from __future__ import annotations

import datetime
import json
import time
from pathlib import Path

import ray
from ray.tune import Callback

from search.plan.resolved_plan import ResolvedPlan
from search.report.html import write_report
from search.report.terminal import show_results
from search.resources.cluster import connect
from search.resources.precompute_features import precompute_features
from search.resources.store_limit import StoreLimit
from search.results.run_folder import write_json
from search.results.tables import write_tables
from search.tuning.prior_run import reuse_prior_run
from search.tuning.progress import Progress
from search.tuning.tuner import build_searcher, build_tuner
from spaces.errors import InputError
from trainables.store.leases import HeldError, hold_lease


def run_search(resolved: ResolvedPlan, lanes: int, start: float) -> int:
    """Search until the plan is done or interrupted, then write tables and report.

    Returns the exit status: 1 if no trial that the search proposed could be finished, 130 after Ctrl-C.
    """
    try:
        resolved.run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f'"{resolved.run}" cannot be made: {error.strerror}') from error
    try:
        with hold_lease(resolved.run / "lease", patience=0.0):
            save_plan(resolved)
            interrupted = run_trials(resolved, lanes)
            add_seconds(resolved.run / "plan.json", time.monotonic() - start)
    except HeldError:
        raise InputError(
            f'a search is run by one process at a time, and another runs "{resolved.run.name}" now: '
            "wait for it, or start anew with another --name"
        ) from None
    print("writing tables and report", flush=True)
    trials = write_tables(resolved.run).trials
    write_report(resolved.run)
    if interrupted:
        print(f"interrupted: --resume --name {resolved.run.name} goes on with it")
        return 130
    show_results(resolved.run)
    print(f"done in {time.monotonic() - start:.0f} s")
    proposed = [t["state"] for t in trials if t["name"] not in resolved.references]
    return int(bool(proposed) and set(proposed) <= {"failed", "diverged"})


def save_plan(resolved: ResolvedPlan) -> None:
    """Write the plan down, with what a resumed search was given anew."""
    path = resolved.run / "plan.json"
    now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    begun = {"started": now, "seconds": 0.0}
    if resolved.resumed:
        begun = {name: json.loads(path.read_text())[name] for name in begun}
    write_json(path, resolved.to_dict() | begun)


def run_trials(resolved: ResolvedPlan, lanes: int) -> bool:
    """Run what is left of the plan's trials; returns whether that was interrupted (Tune takes Ctrl-C)."""
    searcher, stages = build_searcher(resolved), resolved.panel.stages
    if resolved.prior_run:
        reuse_prior_run(resolved, searcher, resolved.prior_run)
    if not searcher.trials_left():
        return False
    print("starting Ray and the workers", flush=True)
    try:
        connect(lanes * resolved.plan.workers_per_trial + 1)  # one for the trials themselves
    except InputError as error:
        raise InputError(f"{error}; then --resume --name {resolved.run.name} goes on") from error
    resolved = precompute_features(resolved, lanes)
    trials = resolved.plan.samples + len(resolved.references)
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


def add_seconds(path: Path, seconds: float) -> None:
    """Add the wall time of this go at the search to those before it."""
    plan = json.loads(path.read_text())
    write_json(path, plan | {"seconds": plan.get("seconds", 0.0) + seconds})
