"""A prepared plan as a `tune.Tuner`: resources, scheduler, searcher, storage, failures."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from search.plan.resolved_plan import ResolvedPlan
from search.tuning.searcher import StudySearcher
from search.tuning.stopping import OverStages, Racing, StageHalving, StageMedian
from trainables.trainable import SearchContext, StageTrainable, panel_stages


def build_searcher(resolved: ResolvedPlan) -> StudySearcher:
    """What proposes configurations, at the point where an interrupted search left it."""
    return StudySearcher(
        resolved.space,
        resolved.plan.directions(),
        resolved.run,
        seed=resolved.plan.seed,
        samples=resolved.plan.samples,
        references=resolved.references,
        balanced=resolved.plan.balanced,
        proposed=resolved.prior_run.proposals if resolved.prior_run else (),
    )


def build_tuner(
    resolved: ResolvedPlan, searcher: StudySearcher, lanes: int, callbacks: Sequence[tune.Callback]
) -> tune.Tuner:
    """The search as Tune runs it; metric and mode are the searcher's and the scheduler's own."""
    plan = resolved.plan
    search = SearchContext(
        resolved.worker_spec, resolved.fingerprints, resolved.panel, resolved.run
    )
    return tune.Tuner(
        # The lane's ranks hold the devices; the trial itself only hands them stages.
        tune.with_resources(
            tune.with_parameters(StageTrainable, search=search),
            tune.PlacementGroupFactory([{"CPU": 0.01}]),
        ),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=scheduler(resolved, searcher),
            num_samples=searcher.trials_left(),
            max_concurrent_trials=lanes,
            reuse_actors=True,
            time_budget_s=plan.time_budget,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(resolved.run),
            callbacks=list(callbacks),
            failure_config=tune.FailureConfig(max_failures=1),
            verbose=0,
        ),
    )


def scheduler(resolved: ResolvedPlan, searcher: StudySearcher) -> TrialScheduler:
    """The plan's way to stop weak trials, filled with what an interrupted search had reached."""
    plan, panel = resolved.plan, resolved.panel
    first = max(2, len(panel.orderings[0]) if len(panel.orderings) > 1 else 2)
    rules: dict[str, Callable[[], OverStages]] = {
        "asha": lambda: StageHalving(first, panel_stages(panel), plan.halving),
        "median": lambda: StageMedian(first),
        "racing": lambda: Racing(panel.orderings),
    }
    if plan.stopping not in rules or (plan.stopping == "asha" and plan.halving < 2):
        return FIFOScheduler()
    rule = rules[plan.stopping]()
    rule.over(resolved.run, resolved.references, searcher.stopped_names)
    rule.remember(resolved.run, searcher.unfinished)
    return rule
