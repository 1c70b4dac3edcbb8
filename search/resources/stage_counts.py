"""Numbers of stages that a search will walk, share and train."""

from __future__ import annotations

from dataclasses import dataclass

from search.plan.resolved_plan import ResolvedPlan
from search.tuning.prior_run import PriorRun
from spaces.references import FLOOR
from trainables.store.stage_store import StageStore


@dataclass(frozen=True)
class StageCounts:
    """Stages of a whole search."""

    configured: int
    """Stages of all trials if each trained every ordering for itself."""
    distinct: int
    """Stages that differ, at most: shared prefixes and shared first stages count once."""
    stored: int
    """Stages known to be in the store: those of the references and of a prior run."""

    @property
    def to_train(self) -> int:
        """Stages that are trained, at most."""
        return self.distinct - self.stored


def count_stages(resolved: ResolvedPlan, prior_run: PriorRun | None) -> StageCounts:
    """Count the stages of a search, given the prior run whose trials it repeats."""
    store = StageStore(resolved.worker_spec.store)
    known = set().union(*(reference_keys(resolved, name) for name in resolved.references))
    repeated = known | prior_run.stage_keys if prior_run else known
    if prior_run and prior_run.covers(resolved.plan.samples):
        distinct = len(repeated)
    else:
        distinct = len(known) + resolved.plan.samples * _new_stages_per_sample(resolved)
    return StageCounts(_configured(resolved), distinct, sum(map(store.has, repeated)))


def reference_keys(resolved: ResolvedPlan, run: str) -> set[str]:
    """Return the keys of the stages of a reference run, that of the initial tasks included."""
    trial = resolved.new_trial(resolved.references[run])
    before = [()] if resolved.panel.first else []
    return {trial.key(path) for path in [*before, *trial.paths]}


def _configured(resolved: ResolvedPlan) -> int:
    orderings = resolved.panel.orderings
    sampled = sum(map(len, orderings)) * resolved.plan.samples
    return sampled + sum(
        len(config.strategy.curriculum(ordering))
        for config in resolved.references.values()
        for ordering in orderings
    )


def _new_stages_per_sample(resolved: ResolvedPlan) -> int:
    """Return the stages that a sampled trial shares with no reference, at most."""
    panel, space, strategies = resolved.panel, resolved.space, resolved.plan.strategies
    longest = max(len(panel.paths(space.reference(name))) for name in strategies)
    shared_knobs = {space.reference(name).shared for name in (FLOOR, *strategies)}
    if any(space.open[part] for part in ("training", "adapter")) or len(shared_knobs) > 1:
        # Trials with other shared knobs train the initial tasks anew, too.
        return longest + int(bool(panel.first))
    # After initial tasks, strategies differ from finetune on the first stage already.
    firsts = 0 if panel.initial else len({ordering[0] for ordering in panel.orderings})
    return longest - firsts
