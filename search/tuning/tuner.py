"""Construction of Ray Tune's `Tuner` for a resolved plan, with its searcher and its scheduler."""

from __future__ import annotations

from collections.abc import Sequence

from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from search.plan.resolved_plan import ResolvedPlan
from search.tuning.prior_run import PriorRun
from search.tuning.searcher import StudySearcher
from search.tuning.stage_scheduler import StageScheduler
from search.tuning.stopping import build_rule
from trainables.trainable import SearchContext, StageTrainable


def build_searcher(resolved: ResolvedPlan, prior_run: PriorRun | None = None) -> StudySearcher:
    """Return the searcher of a plan; that of an interrupted search continues where it was left."""
    return StudySearcher(
        resolved.space,
        resolved.plan.directions(),
        resolved.run,
        seed=resolved.plan.seed,
        samples=resolved.plan.samples,
        references=resolved.references,
        balanced=resolved.plan.balanced,
        prior_proposals=prior_run.proposals if prior_run else (),
    )


def build_tuner(
    resolved: ResolvedPlan,
    searcher: StudySearcher,
    lanes: int,
    callbacks: Sequence[tune.Callback],
    budget: float | None = None,
) -> tune.Tuner:
    """Return the `Tuner` that runs the trials left, at most `lanes` at once, for `budget` seconds.

    It has no metric and mode: several objectives are possible, and searcher and scheduler have their own.
    """
    search = SearchContext(
        resolved.worker_spec, resolved.fingerprints, resolved.panel, resolved.run
    )
    return tune.Tuner(
        # The ranks of the trial's lane hold the devices. The trial's actor only hands them stages.
        tune.with_resources(
            tune.with_parameters(StageTrainable, search=search),
            tune.PlacementGroupFactory([{"CPU": 0.01}]),
        ),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=build_scheduler(resolved, searcher),
            num_samples=searcher.trials_left(),
            max_concurrent_trials=lanes,
            reuse_actors=True,  # an actor's lane stays warm for its next trial
            time_budget_s=budget,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(resolved.run),
            callbacks=list(callbacks),
            failure_config=tune.FailureConfig(max_failures=1),
            verbose=0,
        ),
    )


def build_scheduler(resolved: ResolvedPlan, searcher: StudySearcher) -> TrialScheduler:
    """Return the scheduler with the plan's stopping rule, or without one."""
    plan, orderings = resolved.plan, resolved.panel.orderings
    rule, floor = (build_rule(plan.stopping, orderings, plan.halving) for _ in range(2))
    if rule is None:
        return FIFOScheduler()
    return StageScheduler(rule, resolved.run, searcher.stopped_names, searcher.unfinished, floor)
