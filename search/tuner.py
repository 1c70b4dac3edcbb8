"""A prepared plan as a `tune.Tuner`: resources, scheduler, searcher, storage, failures."""

from __future__ import annotations

from collections.abc import Sequence as List

from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from search.prepared import Prepared
from search.scheduler import StageHalving
from search.searcher import StagedOptuna
from trainables.sequence import Search, Sequence, panel_stages


def build_searcher(prepared: Prepared) -> StagedOptuna:
    """What proposes configurations, at the point where an interrupted search left it."""
    return StagedOptuna(
        prepared.space,
        prepared.plan.directions(),
        prepared.run,
        seed=prepared.plan.seed,
        samples=prepared.plan.samples,
        references=prepared.references,
        balanced=prepared.plan.balanced,
    )


def build_tuner(
    prepared: Prepared, searcher: StagedOptuna, lanes: int, callbacks: List[tune.Callback]
) -> tune.Tuner:
    """The search as Tune runs it; metric and mode are the searcher's and the scheduler's own."""
    plan = prepared.plan
    search = Search(prepared.place, prepared.setting, prepared.panel, prepared.run)
    return tune.Tuner(
        # The lane's ranks hold the devices; the trial itself only hands them stages.
        tune.with_resources(
            tune.with_parameters(Sequence, search=search),
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


def scheduler(prepared: Prepared, searcher: StagedOptuna) -> TrialScheduler:
    """ASHA over the panel's stages, its rungs refilled where the search is resumed."""
    plan, panel = prepared.plan, prepared.panel
    if plan.halving < 2:
        return FIFOScheduler()
    first = max(2, len(panel.orderings[0]) if len(panel.orderings) > 1 else 2)
    halving = StageHalving(
        first, panel_stages(panel), plan.halving, prepared.references, searcher.halted
    )
    halving.remember(prepared.run, searcher.begun)
    return halving
