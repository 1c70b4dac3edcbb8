"""A prepared plan in a few lines: what is searched, how much of it, and what it will take."""

from __future__ import annotations

from collections.abc import Mapping

from search.plan.resolved_plan import ResolvedPlan
from search.resources.cost_estimate import told as estimated
from search.resources.packing import Packing
from search.resources.precompute_features import on_disk

INITIAL = {"trained": "trained jointly before the first stage", "known": "known to the model"}


def describe(prepared: ResolvedPlan, packing: Packing) -> str:
    """The plan in a few lines: what, how much, where."""
    plan, panel = prepared.plan, prepared.panel
    trials = plan.samples + len(prepared.references)
    lines = [
        f"plan        {plan.plan}: {plan.model} on {plan.benchmark}, seed {plan.seed}",
        f"tasks       {', '.join(panel.tasks)}",
        f"examples    {', '.join(map(prepared.counts, prepared.all_tasks))} (train/validation/test)",
        *(
            [f"initial     {', '.join(panel.initial)}, {INITIAL[panel.learnt]}"]
            * bool(panel.initial)
        ),
        f"orderings   {len(panel.orderings)}: {'; '.join('>'.join(o) for o in panel.orderings)}",
        f"strategies  {', '.join(plan.strategies)}, beside {' and '.join(prepared.references)}",
        f"trials      {trials}, {packing}",
        f"stages      {prepared.configured_stages()} configured, at most {prepared.distinct_stages()} "
        f"distinct, {prepared.known_stages()} known to be in the store: at most {prepared.most_stages()} "
        "to be trained",
        f"memory      {told(prepared.memory)}",
        f"features    about {prepared.seen_bytes / 1e9:.2f} GB, {kept(prepared)}",
        f"estimate    {estimated(prepared, packing.lanes)}",
        f"results     {prepared.run}",
        *([f"again       {again(prepared)}"] if prepared.twin and not prepared.resumed else []),
        *(f"note        {caution}" for caution in prepared.cautions()),
    ]
    return "\n".join(lines)


def again(prepared: ResolvedPlan) -> str:
    """That the same was searched before, and what comes of it."""
    assert prepared.twin is not None
    count, samples = len(prepared.twin.proposals), prepared.plan.samples
    return (
        f'"{prepared.twin.name}" had the same plan: what it proposed ({count} of {samples} samples) comes '
        "again; what ended ends as it did there, and what failed is tried again"
    )


def kept(prepared: ResolvedPlan) -> str:
    """Where what the frozen vision tower sees is kept."""
    disk = "on disk, looked at once before the lanes start"
    return disk if on_disk(prepared) else "in each worker's memory"


def told(memory: Mapping[str, int]) -> str:
    """The estimate of one rank's memory in a line, the largest parts first."""
    parts = sorted(memory.items(), key=lambda part: -part[1])
    each = ", ".join(f"{name} {size / 1e9:.2f}" for name, size in parts if size >= 5e6)
    return f"about {sum(memory.values()) / 1e9:.2f} GB a rank: {each}"
