"""Which examples of earlier tasks are held, and in which order they are gone through."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from strategies.strategy import ExampleId, Permutations

Memory = dict[str, list[int]]
"""Rows by task."""


def draw_memory(
    old: Mapping[str, int], shuffled: Permutations, ratio: float = 0.0, count: int = 0
) -> Memory:
    """int(ratio x size) examples of each earlier task, or `count` where that is given.

    Drawn without replacement: a prefix of one permutation per task, so that a smaller memory is part
    of a larger one.
    """
    return {task: list(shuffled(task)[: count or int(ratio * size)]) for task, size in old.items()}


def interleaved(held: Memory) -> list[ExampleId]:
    """All examples, one of each task after the other, as long as a task has any left."""
    tasks = [[(task, row) for row in rows] for task, rows in held.items()]
    turns = itertools.zip_longest(*tasks)
    return [pick for turn in turns for pick in turn if pick is not None]


def cyclic_batch(picks: list[ExampleId], step: int, count: int) -> list[ExampleId]:
    """The `count` picks of a step of an endless round through all of them; empty if there are none."""
    return [picks[(step * count + i) % len(picks)] for i in range(count)] if picks else []


def empty_memory_warning(name: str, ratio: float, sizes: Mapping[str, int]) -> str:
    """What to say of a ratio that draws nothing from some tasks of these training sizes."""
    empty = [task for task, size in sizes.items() if int(ratio * size) == 0]
    return f"{name} with ratio {ratio:g} draws no example of {', '.join(empty)}" if empty else ""
