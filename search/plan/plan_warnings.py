"""Warnings about a resolved plan: settings that do nothing, or less than their user may expect."""

from __future__ import annotations

from collections.abc import Iterator

from search.plan.presets import PLANS
from search.plan.resolved_plan import ResolvedPlan
from search.plan.search_plan import SearchPlan
from search.plan.space import SHARED
from search.tuning.stopping import LEAST_WALKED
from spaces.references import REFERENCES
from strategies import PLUS, Composed
from strategies.regulariser import Regulariser
from tasks import scale_note
from tasks.presets.preset import PRESETS


def plan_warnings(resolved: ResolvedPlan) -> list[str]:
    """Return the warnings about a plan's strategies, samples, metrics and stopping rule."""
    return [warning for warning in _warnings(resolved) if warning]


def _warnings(resolved: ResolvedPlan) -> Iterator[str | None]:
    plan, benchmark, orderings = resolved.plan, resolved.benchmark, len(resolved.panel.orderings)
    learned = [task for task in resolved.tasks if task not in resolved.panel.general]
    sizes = {task: len(benchmark.task(task).examples("train")) for task in learned}
    for name in plan.strategies:
        yield resolved.space.reference(name).strategy.warning(sizes)
    yield _half_protected(resolved)
    count = len(plan.strategies)
    if plan.samples < count:
        yield f"{plan.samples} samples cannot try each of {count} strategies; --samples {count} would"
    if plan.stopping == "racing" and orderings <= LEAST_WALKED:
        yield (
            f"racing compares trials from the end of ordering {LEAST_WALKED} on, but for the last: it "
            f"needs {LEAST_WALKED + 1} to stop any, and there are {orderings}; --stopping asha would do"
        )
    yield from _without_effect(resolved)
    yield from _few_stages(resolved)
    if plan.scoring == "cheap" and plan.stopping != "none":
        yield (
            "with cheap scoring, trials are compared in mid-ordering by the task just learned alone, "
            "and by forgetting only at the ordering's end; scoring: seen or --stopping none would do"
        )
    yield from resolved.rows.notes
    for averaged in (resolved.whole_panel.all_tasks, plan.held_out_tasks):
        yield scale_note({task: benchmark.task(task).metric for task in averaged})


def _without_effect(resolved: ResolvedPlan) -> Iterator[str]:
    """Name the settings that were given and change nothing in this search."""
    plan, trials = resolved.plan, resolved.trials
    if plan.stopping != "asha" and plan.halving != SearchPlan.halving:
        yield f"halving {plan.halving} has no effect: it belongs to stopping asha, not {plan.stopping}"
    if plan.initial == "known" and not resolved.benchmark.initial:
        yield "initial known has no effect: the benchmark names no initial tasks"
    if others := idle_knobs(plan):
        yield f"space has no effect for {', '.join(others)}: these strategies are not searched"
    if plan.data and plan.benchmark not in PRESETS:
        yield "data has no effect: only presets of benchmarks read it"
    if plan.text_encoder and not any(
        resolved.space.reference(name).strategy.needs_similarity for name in plan.strategies
    ):
        yield "the text encoder has no effect: none of the strategies compares tasks by their texts"
    if plan.concurrent is not None and plan.concurrent > trials:
        yield f"concurrent {plan.concurrent} is more than the {trials} trials of this search"


def _few_stages(resolved: ResolvedPlan) -> Iterator[str]:
    """Say what a search on the first stages alone cannot see."""
    panel, whole, stages = resolved.panel, resolved.whole_panel, resolved.plan.search_stages
    if stages is None:
        return
    if len(panel.orderings) < len(whole.orderings):
        yield (
            f"{len(whole.orderings)} orderings begin in {len(panel.orderings)} ways (search_stages "
            f"{stages}): those that begin alike are searched once"
        )
    if stages == 1 and not panel.initial:
        yield (
            "search_stages 1 compares no strategies: on the first task, nothing is there to replay or to "
            "protect, so that only shared knobs matter; --search-stages 2 would compare them"
        )


def idle_knobs(plan: SearchPlan) -> list[str]:
    """Return the knobs in a plan's space that no searched strategy has, beyond those of named plans."""
    names = {*SHARED, *REFERENCES, *plan.strategies}
    names |= {part for name in plan.strategies for part in name.split(PLUS)}
    given = [other().space for other in PLANS.values()]
    return [
        knob
        for knob, domain in plan.space.items()
        if str(knob).rpartition(".")[0] not in names
        and not any(space.get(knob) == domain for space in given)
    ]


def _half_protected(resolved: ResolvedPlan) -> str | None:
    """Return a warning where initial tasks are known and importances are estimated with fresh LoRA.

    Its matrix B is zero then, and with it every gradient of A.
    """
    panel = resolved.panel
    if not panel.initial or panel.initial_state != "known":
        return None
    lora = any(adapter.lora for adapter in resolved.space.shared_adapters())
    found = [name for name in resolved.plan.strategies if _has_importances(resolved, name)]
    if not lora or not found:
        return None
    return (
        f"{', '.join(found)}: the importances of known initial tasks are estimated where every matrix B of "
        "LoRA is still zero, so they protect B alone and no matrix A; initial: trained, adapter.parts "
        "without LoRA, or replay would do"
    )


def _has_importances(resolved: ResolvedPlan, name: str) -> bool:
    strategy = resolved.space.reference(name).strategy
    parts = strategy.parts if isinstance(strategy, Composed) else [strategy]
    return any(isinstance(part, Regulariser) for part in parts)
