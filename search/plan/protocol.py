"""Selection protocols: the tasks and stages that a search chooses by, and those that confirm its choice.

By default, orderings are held out: a confirmation trains others of the same tasks. Tasks can be held out,
too (Cha and Cho 2024, arXiv 2403.09066): the search trains some tasks, the confirmation others. And a
search can choose by the first tasks of each ordering alone (Lee et al. 2024, arXiv 2404.06466).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from search.plan.objectives import check_objectives
from search.plan.search_plan import SearchPlan
from spaces.errors import InputError
from tasks import Benchmark
from trainables.panel import Panel

FEWEST_HELD_OUT = 3
"""Tasks held out at least: 2 have but 2 orderings, and a confirmation needs 3 units to tell anything."""


def searched_tasks(plan: SearchPlan, benchmark: Benchmark) -> tuple[str, ...]:
    """Return the tasks that a search trains, in the plan's order: those that are not held out.

    Raises `InputError` for unknown or repeated names, too few tasks held out, or none left to search on.
    """
    tasks, held_out = plan.tasks or benchmark.order, plan.held_out_tasks
    for task in (*tasks, *held_out):
        benchmark.task(task)  # raises for an unknown task
    for called, names in (("tasks", tasks), ("held_out_tasks", held_out)):
        if len(set(names)) != len(names):
            raise InputError(f"{called} must differ, got {', '.join(names)}")
    if held_out and len(held_out) < FEWEST_HELD_OUT:
        number, orderings = len(held_out), math.factorial(len(held_out))
        raise InputError(
            f"held_out_tasks must be {FEWEST_HELD_OUT} at least, got {', '.join(held_out)}: two finalists "
            "are told apart on 3 units at least, each with an ordering of its own, and "
            f"{number} task{'s have' if number > 1 else ' has'} {orderings}; further ones could be "
            f"{_others(benchmark, held_out)}"
        )
    left = tuple(task for task in tasks if task not in held_out)
    if held_out and len(left) < 2:
        raise InputError(
            f"2 tasks at least must be left to search on, and of {', '.join(tasks)} the plan leaves "
            f"{', '.join(left) or 'none'}; --tasks with others, or fewer held_out_tasks, would do"
        )
    return left


def check_held_out(plan: SearchPlan, general: Sequence[str]) -> None:
    """Raise `InputError` if a task held out is a general one: a confirmation trains it."""
    if both := [task for task in plan.held_out_tasks if task in general]:
        raise InputError(
            f"general tasks are never trained, got {', '.join(both)} in held_out_tasks, which the "
            "confirmation trains; --general none, or others held out, would do"
        )


def searched_panel(plan: SearchPlan, whole: Panel) -> Panel:
    """Return the panel that every trial is walked through: the plan's first stages of whole orderings.

    Orderings that begin alike count once. Raises `InputError` for an objective that is undefined there.
    """
    stages = plan.search_stages
    panel = whole if stages is None else first_stages(whole, stages, "search_stages")
    check_objectives(plan.objectives, plan.scoring, panel)
    return panel


def first_stages(panel: Panel, stages: int, called: str) -> Panel:
    """Return the panel whose orderings end after so many stages, each beginning once.

    Raises `InputError` that names `called` unless an ordering is longer than that.
    """
    length = len(panel.orderings[0])
    if not 1 <= stages < length:
        would_do = f"1 to {length - 1}" if length > 1 else "an ordering of more tasks"
        raise InputError(
            f"{called} must be less than the {length} tasks of an ordering, and 1 at least, got {stages}; "
            f"{would_do} would do"
        )
    cut = dict.fromkeys(ordering[:stages] for ordering in panel.orderings)
    return dataclasses.replace(panel, orderings=tuple(cut))


def planned_tasks(plan: SearchPlan, whole: Panel) -> tuple[str, ...]:
    """Return all tasks that a search or its confirmation trains or scores."""
    return tuple(dict.fromkeys((*whole.all_tasks, *plan.held_out_tasks)))


def protocol_name(plan: SearchPlan, length: int) -> str:
    """Return the name of a plan's protocol; `length`: the tasks of a whole ordering."""
    parts = []
    if plan.held_out_tasks:
        parts.append(f"tasks held out: {', '.join(plan.held_out_tasks)}")
    if plan.search_stages is not None:
        parts.append(f"first {plan.search_stages} of {length} tasks")
    return "; ".join(parts) or "orderings held out"


def chose_nothing(held_out: Sequence[str], repeats: bool = False) -> str:
    """Return what the units of a confirmation have that chose nothing, given the tasks held out.

    `repeats`: some orderings are those of the search or of other units, for there are too few.
    """
    fresh = "seeds (there are too few orderings)" if repeats else "orderings and seeds"
    return f"{fresh}, on tasks that chose nothing" if held_out else f"{fresh} that chose nothing"


def _others(benchmark: Benchmark, held_out: Sequence[str]) -> str:
    known = (*benchmark.initial, *held_out)
    return (
        ", ".join(task for task in benchmark.order if task not in known) or "none of this benchmark"
    )
