"""The text that `--dry-run` prints: the search, its stages, memory and cost."""

from __future__ import annotations

from collections.abc import Mapping

from search.confirmation.scope import confirmation_scope
from search.plan.plan_warnings import plan_warnings
from search.plan.protocol import protocol_name
from search.plan.resolved_plan import ResolvedPlan
from search.prepared_search import PreparedSearch
from search.resources.cost_estimate import describe_estimate
from search.resources.precompute_features import uses_feature_cache
from search.resources.stage_counts import StageCounts, count_stages
from search.tuning.prior_run import PriorRun
from spaces.references import REFERENCES
from tasks import SPLITS
from tasks.data.manifest import MANIFEST, read_manifest

INITIAL = {"trained": "trained jointly before the first stage", "known": "known to the model"}


def describe(search: PreparedSearch) -> str:
    """Describe a prepared search, one aspect a line."""
    resolved, prior_run = search.resolved, search.prior_run
    plan, panel = resolved.plan, resolved.panel
    stages = count_stages(resolved, prior_run)
    lines = [
        f"plan        {plan.plan}: {plan.model} on {plan.benchmark}, seed {plan.seed}",
        f"tasks       {', '.join(panel.tasks)}",
        f"examples    {', '.join(_split_sizes(resolved, task) for task in resolved.tasks)} "
        "(train/validation/test)",
    ]
    if panel.initial:
        lines.append(f"initial     {', '.join(panel.initial)}, {INITIAL[panel.initial_state]}")
    if panel.general:
        lines.append(f"general     {', '.join(panel.general)}, scored and never trained")
    lines += [
        f"protocol    {_protocol(resolved)}",
        f"orderings   {len(panel.orderings)}: {'; '.join('>'.join(o) for o in panel.orderings)}",
        f"strategies  {', '.join(plan.strategies)}, beside {_references(resolved)}",
        f"trials      {resolved.trials}, {search.packing}",
        f"stages      {stages.configured} configured, at most {stages.distinct} distinct, "
        f"{stages.stored} known to be in the store: at most {stages.to_train} to be trained",
        *_confirmation(resolved, stages),
        f"memory      {_memory(search.needs.rank)}",
        f"features    about {search.needs.features / 1e9:.2f} GB, {_feature_cache(search)}",
        f"estimate    {describe_estimate(resolved, search.packing.lanes, prior_run)}",
        f"results     {resolved.run}",
    ]
    if prior_run and not resolved.resumed:
        lines.append(f"again       {_repeated(prior_run, plan.samples)}")
    lines += [f"note        {w}" for w in (*plan_warnings(resolved), *search.needs.probe.notes())]
    return "\n".join(lines)


def _confirmation(resolved: ResolvedPlan, stages: StageCounts) -> list[str]:
    """Return how the finalists are confirmed, and the stages that it may take."""
    plan = resolved.plan
    tasks = len(plan.held_out_tasks or resolved.whole_panel.tasks)
    if plan.confirm == 0:
        return ["confirm     off"]
    joint = len(resolved.references) // len(REFERENCES)  # each trains all tasks as one stage
    searched = stages.distinct + joint * (len(resolved.panel.tasks) - 1)
    scope = confirmation_scope(
        searched, tasks, len(plan.strategies), plan.confirm, plan.confirm_seeds
    )
    units = str(scope.units) if scope.units == scope.looks[0] else f"up to {scope.units}"
    return [
        f"confirm     up to {scope.finalists} finalists, {' and '.join(REFERENCES)}, on {units} fresh "
        f"orderings and seeds: at most {scope.most_stages(tasks)} stages more"
    ]


def _references(resolved: ResolvedPlan) -> str:
    """Return the references, and how many runs of each are tuned."""
    runs = len(resolved.references) // len(REFERENCES)
    tuned = f" ({runs} runs of each, over the shared knobs)" if runs > 1 else ""
    return f"{' and '.join(REFERENCES)}{tuned}"


def _protocol(resolved: ResolvedPlan) -> str:
    """Return the selection protocol, and what a confirmation of the search trains."""
    plan = resolved.plan
    confirmed = "whole orderings" if plan.search_stages else "other orderings"
    confirmed = "orderings of those" if plan.held_out_tasks else confirmed
    name = protocol_name(plan, len(resolved.whole_panel.orderings[0]))
    return f"{name}: a confirmation trains {confirmed}, at other seeds"


def _split_sizes(resolved: ResolvedPlan, name: str) -> str:
    """Return a task's examples in each split, and the rows that were left out of its data."""
    task = resolved.benchmark.task(name)
    sizes = "/".join(str(len(task.examples(split))) for split in SPLITS)
    folder = task.split_files("train")[0].parent
    broken = read_manifest(folder).rows.rejected if (folder / MANIFEST).is_file() else 0
    return f"{name} {sizes}" + (f", {broken} broken rows left out" if broken else "")


def _repeated(prior_run: PriorRun, samples: int) -> str:
    """Say that the same plan was searched before, and which trials are repeated."""
    return (
        f'"{prior_run.name}" had the same plan: its {len(prior_run.proposals)} of {samples} proposals are '
        "repeated; trials that ended there end the same way from the store, failed ones are trained again"
    )


def _feature_cache(search: PreparedSearch) -> str:
    """Return where the features of the frozen vision tower are cached."""
    if uses_feature_cache(search.resolved, search.needs.features):
        return "cached on disk, computed once before the lanes start"
    return "cached in each worker's memory"


def _memory(rank: Mapping[str, int]) -> str:
    """Return one rank's memory in a line, the largest parts first."""
    parts = sorted(rank.items(), key=lambda part: -part[1])
    large = ", ".join(f"{name} {size / 1e9:.2f}" for name, size in parts if size >= 5e6)
    return f"about {sum(rank.values()) / 1e9:.2f} GB a rank: {large}"
