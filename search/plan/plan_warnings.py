"""Warnings about a resolved plan: settings that do nothing, or less than their user may expect."""

from __future__ import annotations

from collections.abc import Iterator

from search.plan.resolved_plan import ResolvedPlan
from search.plan.search_plan import SearchPlan
from spaces.references import REFERENCES
from tasks import scale_note

LEAST_RACING_ORDERINGS = 3
"""Orderings below which racing can stop no trial."""


def plan_warnings(resolved: ResolvedPlan) -> list[str]:
    """Return the warnings about a plan's strategies, samples, metrics and stopping rule."""
    return [warning for warning in _warnings(resolved) if warning]


def _warnings(resolved: ResolvedPlan) -> Iterator[str | None]:
    plan, benchmark, orderings = resolved.plan, resolved.benchmark, len(resolved.panel.orderings)
    sizes = {task: len(benchmark.task(task).examples("train")) for task in resolved.panel.all_tasks}
    for name in plan.strategies:
        yield resolved.space.reference(name).strategy.warning(sizes)
    count = len(plan.strategies)
    if plan.samples < count:
        yield f"{plan.samples} samples cannot try each of {count} strategies; --samples {count} would"
    if plan.stopping == "racing" and orderings < LEAST_RACING_ORDERINGS:
        yield (
            "racing compares trials after each ordering but the first and the last: it needs "
            f"{LEAST_RACING_ORDERINGS} to stop any, and there are {orderings}; --stopping asha would do"
        )
    yield from _without_effect(resolved)
    if plan.scoring == "cheap" and plan.stopping != "none":
        yield (
            "with cheap scoring, trials are compared in mid-ordering by the task just learned alone, "
            "and by forgetting only at the ordering's end; scoring: seen or --stopping none would do"
        )
    yield from resolved.rows.notes
    yield scale_note({task: benchmark.task(task).metric for task in resolved.panel.all_tasks})


def _without_effect(resolved: ResolvedPlan) -> Iterator[str]:
    """Name the settings that were given and change nothing in this search."""
    plan, trials = resolved.plan, resolved.plan.samples + len(REFERENCES)
    if plan.stopping != "asha" and plan.halving != SearchPlan.halving:
        yield f"halving {plan.halving} has no effect: it belongs to stopping asha, not {plan.stopping}"
    if plan.initial == "known" and not resolved.benchmark.initial:
        yield "initial known has no effect: the benchmark names no initial tasks"
    if plan.text_encoder and not any(
        resolved.space.reference(name).strategy.needs_similarity for name in plan.strategies
    ):
        yield "the text encoder has no effect: none of the strategies compares tasks by their texts"
    if plan.concurrent is not None and plan.concurrent > trials:
        yield f"concurrent {plan.concurrent} is more than the {trials} trials of this search"
