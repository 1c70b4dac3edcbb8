"""A resolved plan with everything estimated before its workers start."""

from __future__ import annotations

from dataclasses import dataclass

from search.plan.resolved_plan import ResolvedPlan
from search.plan.saved_plan import record_plan
from search.resources.cluster import cluster_address
from search.resources.packing import Packing, pack_lanes
from search.resources.rank_memory import MemoryNeeds, memory_needs
from search.resources.ray_start import check_ray_can_start
from search.tuning.prior_run import PriorRun, find_prior_run


@dataclass(frozen=True)
class PreparedSearch:
    """A search that can be described and run."""

    resolved: ResolvedPlan
    needs: MemoryNeeds
    packing: Packing
    prior_run: PriorRun | None
    """An earlier search with the same plan; None if there is none."""


def prepare_search(resolved: ResolvedPlan) -> PreparedSearch:
    """Estimate a plan's memory, pack its lanes, and find a prior run.

    Raises `InputError` if Ray cannot start here, the model's processor fails on the data, or no lane fits.
    """
    if cluster_address() is None:
        check_ray_can_start()
    needs = memory_needs(resolved)
    packing = pack_lanes(resolved.plan, resolved.trials, needs.rank_bytes)
    prior_run = find_prior_run(record_plan(resolved), resolved.run)
    return PreparedSearch(resolved.with_worker(gpus=packing.share), needs, packing, prior_run)
