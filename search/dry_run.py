"""A prepared plan in a few lines: what is searched, how much of it, and what it will take."""

from __future__ import annotations

from collections.abc import Mapping

from search.plan.resolved_plan import ResolvedPlan
from search.resources.cost_estimate import describe_estimate
from search.resources.packing import Packing
from search.resources.precompute_features import cached_on_disk

INITIAL = {"trained": "trained jointly before the first stage", "known": "known to the model"}


def describe(resolved: ResolvedPlan, packing: Packing) -> str:
    """The plan in a few lines: what, how much, where."""
    plan, panel = resolved.plan, resolved.panel
    trials = plan.samples + len(resolved.references)
    lines = [
        f"plan        {plan.plan}: {plan.model} on {plan.benchmark}, seed {plan.seed}",
        f"tasks       {', '.join(panel.tasks)}",
        f"examples    {', '.join(map(resolved.counts, resolved.all_tasks))} (train/validation/test)",
        *(
            [f"initial     {', '.join(panel.initial)}, {INITIAL[panel.learnt]}"]
            * bool(panel.initial)
        ),
        f"orderings   {len(panel.orderings)}: {'; '.join('>'.join(o) for o in panel.orderings)}",
        f"strategies  {', '.join(plan.strategies)}, beside {' and '.join(resolved.references)}",
        f"trials      {trials}, {packing}",
        f"stages      {resolved.configured_stages()} configured, at most {resolved.distinct_stages()} "
        f"distinct, {resolved.known_stages()} known to be in the store: at most {resolved.most_stages()} "
        "to be trained",
        f"memory      {memory_line(resolved.memory)}",
        f"features    about {resolved.feature_bytes / 1e9:.2f} GB, {kept(resolved)}",
        f"estimate    {describe_estimate(resolved, packing.lanes)}",
        f"results     {resolved.run}",
        *(
            [f"again       {again(resolved)}"]
            if resolved.prior_run and not resolved.resumed
            else []
        ),
        *(f"note        {caution}" for caution in resolved.cautions()),
    ]
    return "\n".join(lines)


def again(resolved: ResolvedPlan) -> str:
    """That the same was searched before, and what comes of it."""
    assert resolved.prior_run is not None
    count, samples = len(resolved.prior_run.proposals), resolved.plan.samples
    return (
        f'"{resolved.prior_run.name}" had the same plan: what it proposed ({count} of {samples} samples) comes '
        "again; what ended ends as it did there, and what failed is tried again"
    )


def kept(resolved: ResolvedPlan) -> str:
    """Where what the frozen vision tower sees is kept."""
    disk = "on disk, looked at once before the lanes start"
    return disk if cached_on_disk(resolved) else "in each worker's memory"


def memory_line(memory: Mapping[str, int]) -> str:
    """The estimate of one rank's memory in a line, the largest parts first."""
    parts = sorted(memory.items(), key=lambda part: -part[1])
    each = ", ".join(f"{name} {size / 1e9:.2f}" for name, size in parts if size >= 5e6)
    return f"about {sum(memory.values()) / 1e9:.2f} GB a rank: {each}"
