"""Training of the finalists on fresh units, through the lanes and the store of their search."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from pathlib import Path

import ray
from ray import tune

from search.confirmation.finalists import (
    FOLDER,
    ConfirmationRecord,
    affordable_units,
    choose_finalists,
    plan_confirmation,
    read_confirmation,
)
from search.confirmation.looks import looks_within
from search.confirmation.progress import ConfirmationProgress
from search.confirmation.results import Confirmation, read_results
from search.confirmation.searcher import ConfirmationSearcher
from search.interruption import interruptible, leave
from search.plan.resolved_plan import ResolvedPlan
from search.prepared_search import PreparedSearch
from search.resources.precompute_features import precompute_features
from search.resources.ray_watch import watching_ray
from search.results.outcome import Outcome
from search.run_search import fault_behind, resumable, start_workers
from search.tuning.health import Health
from search.tuning.run_lock import begin_storage, only_writer
from spaces.errors import MACHINE_STATUS, InputError
from spaces.references import REFERENCES
from trainables.trainable import SearchContext, StageTrainable

MOST_RUNS = 100_000
"""Number of samples that Tune is told; the searcher ends earlier."""
BEYOND_SEEN = ("forward_transfer", "chaudhry_forgetting")
"""Metrics that need scores of tasks before their own stage: only these pay for such scores."""


def planned(outcome: Outcome, resolved: ResolvedPlan, units: int | None) -> ConfirmationRecord:
    """Return the plan of a search's confirmation: the one begun earlier, or a new one.

    Raises `InputError` if `units` differs from that of one begun earlier.
    """
    earlier = read_confirmation(resolved.run)
    if earlier is not None:
        if units not in (None, len(earlier.units)):
            raise InputError(
                f'the confirmation of "{resolved.run.name}" was begun with {len(earlier.units)} units, got '
                f"--units {units}: go on without it, or delete {resolved.run / FOLDER} to begin anew"
            )
        return earlier
    references = {name: resolved.space.reference(name) for name in REFERENCES}
    finalists = choose_finalists(outcome, references)
    count = units or affordable_units(outcome, len(finalists))
    return plan_confirmation(outcome, finalists, count, looks_within(count))


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
            if read_results(run, plan).wanted():
                print("starting Ray and the workers", flush=True)
                cpus = lanes * resolved.plan.workers_per_trial + 1
                with watching_ray(lambda name: leave_stuck(run, name)):
                    start_workers(cpus, run)
                    resolved = precompute_features(resolved, search.needs, lanes)
                    _fit(_tuner(resolved, plan, lanes), run)
                ray.shutdown()
    return read_results(run, plan)


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


def _fit(tuner: tune.Tuner, run: Path) -> None:
    try:
        tuner.fit()
    except Exception as error:
        raise fault_behind(error, run) from error


def _tuner(resolved: ResolvedPlan, plan: ConfirmationRecord, lanes: int) -> tune.Tuner:
    folder = resolved.run / FOLDER
    scoring = resolved.panel.scoring if plan.metric in BEYOND_SEEN else "seen"
    search = SearchContext(
        resolved.worker_spec,
        resolved.fingerprints,
        dataclasses.replace(resolved.panel, scoring=scoring),
        folder,
    )
    return tune.Tuner(
        tune.with_resources(
            tune.with_parameters(StageTrainable, search=search),
            tune.PlacementGroupFactory([{"CPU": 0.01}]),
        ),
        tune_config=tune.TuneConfig(
            search_alg=ConfirmationSearcher(plan, resolved.run),
            num_samples=MOST_RUNS,
            max_concurrent_trials=lanes,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(folder),
            callbacks=[ConfirmationProgress(plan, resolved.run), Health(resolved.run)],
            failure_config=tune.FailureConfig(max_failures=1),
            verbose=0,
        ),
    )
