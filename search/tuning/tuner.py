"""A prepared plan as a `tune.Tuner`: resources, scheduler, searcher, storage, failures."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from search.plan.resolved_plan import ResolvedPlan
from search.tuning.searcher import StagedOptuna
from search.tuning.stopping import OverStages, Racing, StageHalving, StageMedian
from trainables.trainable import SearchContext, StageTrainable, panel_stages


def build_searcher(prepared: ResolvedPlan) -> StagedOptuna:
    """What proposes configurations, at the point where an interrupted search left it."""
    return StagedOptuna(
        prepared.space,
        prepared.plan.directions(),
        prepared.run,
        seed=prepared.plan.seed,
        samples=prepared.plan.samples,
        references=prepared.references,
        balanced=prepared.plan.balanced,
        proposed=prepared.twin.proposals if prepared.twin else (),
    )


def build_tuner(
    prepared: ResolvedPlan, searcher: StagedOptuna, lanes: int, callbacks: Sequence[tune.Callback]
) -> tune.Tuner:
    """The search as Tune runs it; metric and mode are the searcher's and the scheduler's own."""
    plan = prepared.plan
    search = SearchContext(prepared.place, prepared.setting, prepared.panel, prepared.run)
    return tune.Tuner(
        # The lane's ranks hold the devices; the trial itself only hands them stages.
        tune.with_resources(
            tune.with_parameters(StageTrainable, search=search),
            tune.PlacementGroupFactory([{"CPU": 0.01}]),
        ),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=scheduler(prepared, searcher),
            num_samples=searcher.left(),
            max_concurrent_trials=lanes,
            reuse_actors=True,
            time_budget_s=plan.time_budget,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(prepared.run),
            callbacks=list(callbacks),
            failure_config=tune.FailureConfig(max_failures=1),
            verbose=0,
        ),
    )


def scheduler(prepared: ResolvedPlan, searcher: StagedOptuna) -> TrialScheduler:
    """The plan's way to stop weak trials, filled with what an interrupted search had reached."""
    plan, panel = prepared.plan, prepared.panel
    first = max(2, len(panel.orderings[0]) if len(panel.orderings) > 1 else 2)
    rules: dict[str, Callable[[], OverStages]] = {
        "asha": lambda: StageHalving(first, panel_stages(panel), plan.halving),
        "median": lambda: StageMedian(first),
        "racing": lambda: Racing(panel.orderings),
    }
    if plan.stopping not in rules or (plan.stopping == "asha" and plan.halving < 2):
        return FIFOScheduler()
    rule = rules[plan.stopping]()
    rule.over(prepared.run, prepared.references, searcher.halted)
    rule.remember(prepared.run, searcher.begun)
    return rule
