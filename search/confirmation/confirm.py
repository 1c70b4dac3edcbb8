"""Training of the finalists on fresh units, through the lanes and the store of their search."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from pathlib import Path

import ray
from ray import tune

from search.confirmation.course import wanted_runs
from search.confirmation.finalists import (
    FOLDER,
    ConfirmationRecord,
    check_units,
    choose_finalists,
    plan_confirmation,
    read_confirmation,
    search_stages,
)
from search.confirmation.looks import extended
from search.confirmation.results import Confirmation, read_results
from search.confirmation.scope import confirmation_scope
from search.confirmation.searcher import ConfirmationProgress, ConfirmationSearcher
from search.interruption import interruptible, leave
from search.plan.preferences import Preference
from search.plan.resolved_plan import ResolvedPlan
from search.prepared_search import PreparedSearch
from search.ray_session import fault_behind, resumable, start_workers
from search.resources.precompute_features import precompute_features
from search.resources.ray_watch import watching_ray
from search.results.outcome import Outcome
from search.tuning.health import Health
from search.tuning.run_lock import begin_storage, only_writer
from spaces.errors import MACHINE_STATUS
from spaces.references import REFERENCES
from trainables.trainable import SearchContext, StageTrainable

MOST_RUNS = 100_000
"""Number of samples that Tune is told; the searcher ends earlier."""


def planned(
    outcome: Outcome,
    resolved: ResolvedPlan,
    finalists: int | None = None,
    units: int | None = None,
) -> ConfirmationRecord:
    """Return the plan of a search's confirmation: the one begun earlier, or a new one.

    One begun earlier keeps its numbers, and is replaced if the search has found other finalists since, or
    others are asked for; what was trained for it is in the store. The preference is that of
    `resolved.plan`, which a flag may have changed since the search.
    More units than it was begun with extend it: its looks stay, at the stricter level of more of them.
    Raises `InputError` for fewer.
    """
    check_units(resolved.run, units)
    prefer: Preference = resolved.plan.prefer  # type: ignore[assignment]  # checked with the plan
    earlier, asked = read_confirmation(resolved.run), units
    strategies = sum(
        bool(row["best"]) and row["strategy"] not in REFERENCES
        for row in outcome.strategies.values()
    )
    if earlier is not None:
        finalists = finalists or sum(f.strategy not in REFERENCES for f in earlier.finalists)
        units = units or (len(earlier.units) if earlier.units_were_given else None)
    scope = confirmation_scope(
        search_stages(outcome), len(outcome.run.plan.confirmed_tasks), strategies, finalists, units
    )
    chosen = choose_finalists(outcome, resolved.references, scope.finalists)
    if earlier is not None and asked is not None and asked > len(earlier.units):
        scope = dataclasses.replace(scope, looks=extended(earlier.looks, asked))
        return plan_confirmation(outcome, chosen, scope, prefer)
    if earlier is None or earlier.finalists != tuple(chosen):
        return plan_confirmation(outcome, chosen, scope, prefer)
    most = (
        None if asked is not None else earlier.most_stages
    )  # a number that is asked for has no budget
    return earlier.model_copy(update={"prefer": prefer, "most_stages": most})


def confirm(search: PreparedSearch, plan: ConfirmationRecord) -> Confirmation:
    """Train what is left of a confirmation, and return all of its scores.

    Raises `MachineError` if the machine ends it; what is finished is kept, and the same command goes on.
    """
    resolved, lanes = search.resolved, search.packing.lanes
    run = resolved.run
    with resumable(run, confirm_command(run)):
        resolved = resolved.with_worker(storage_id=begin_storage(run))
        with only_writer(run), interruptible():
            plan.write(run)
            if wanted_runs(read_results(run, plan)):
                print("starting Ray and the workers", flush=True)
                cpus = lanes * resolved.plan.workers_per_trial + 1
                with watching_ray(lambda name: leave_stuck(run, name)):
                    start_workers(cpus, run)
                    resolved = precompute_features(resolved, search.needs, lanes)
                    train_confirmation(resolved, plan, lanes)
                ray.shutdown()
    return read_results(run, plan)


def train_confirmation(
    resolved: ResolvedPlan, plan: ConfirmationRecord, lanes: int, seconds: float | None = None
) -> tuple[int, int]:
    """Train the runs that are left with the Ray at hand, in so many seconds.

    Returns the numbers of runs still left and, among them, of those that failed: the next session tries
    these again.
    """
    searcher = ConfirmationSearcher(plan, resolved.run)
    try:
        _tuner(resolved, plan, searcher, lanes, seconds).fit()
    except Exception as error:
        raise fault_behind(error, resolved.run) from error
    return len(wanted_runs(read_results(resolved.run, plan))), len(searcher.failed)


def leave_stuck(run: Path, name: str) -> None:
    """End this program while its main thread waits for a Ray that has died."""
    print(
        f"error: {name} died; what is finished is safe: {confirm_command(run)} goes on with it",
        file=sys.stderr,
    )
    leave(MACHINE_STATUS)


def confirm_command(run: Path) -> str:
    """Return the command that goes on with a confirmation."""
    return f"python search/confirm.py {shlex.quote(str(run))}"


def _tuner(
    resolved: ResolvedPlan,
    plan: ConfirmationRecord,
    searcher: ConfirmationSearcher,
    lanes: int,
    seconds: float | None,
) -> tune.Tuner:
    folder = resolved.run / FOLDER
    search = SearchContext(
        resolved.worker_spec,
        resolved.fingerprints,
        plan.scored(resolved.panel),
        folder,
    )
    return tune.Tuner(
        tune.with_resources(
            tune.with_parameters(StageTrainable, search=search),
            tune.PlacementGroupFactory([{"CPU": 0.01}]),
        ),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            num_samples=MOST_RUNS,
            max_concurrent_trials=lanes,
            reuse_actors=True,
            time_budget_s=seconds,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(folder),
            callbacks=[ConfirmationProgress(plan, resolved.run), Health(resolved.run)],
            failure_config=tune.FailureConfig(max_failures=1),
            verbose=0,
        ),
    )
