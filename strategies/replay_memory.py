"""Episodic memory: a draw of earlier tasks' examples, and the order in which batches take them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from strategies.strategy import ExampleId, Permutations

Memory = dict[str, list[int]]
"""Rows by task."""


def draw_memory(
    old: Mapping[str, int], shuffled: Permutations, ratio: float = 0.0, count: int = 0
) -> Memory:
    """Draw `count` examples of each earlier task, or int(ratio x size) if `count` is 0.

    Drawn without replacement as a prefix of one permutation per task: a smaller memory is part of a
    larger one.
    """
    return {task: list(shuffled(task)[: count or int(ratio * size)]) for task, size in old.items()}


def interleaved(memory: Memory) -> list[ExampleId]:
    """Return all examples, one of each task in turn; a task that has none left is skipped."""
    tasks = [[(task, row) for row in rows] for task, rows in memory.items()]
    turns = itertools.zip_longest(*tasks)
    return [pick for turn in turns for pick in turn if pick is not None]


def cyclic_batch(picks: list[ExampleId], step: int, count: int) -> list[ExampleId]:
    """Return the `count` picks of a step when batches cycle through all picks."""
    return [picks[(step * count + i) % len(picks)] for i in range(count)] if picks else []


def empty_memory_warning(name: str, ratio: float, sizes: Mapping[str, int]) -> str:
    """Return a warning that a ratio draws nothing from some tasks of these sizes; empty if none."""
    empty = [task for task, size in sizes.items() if int(ratio * size) == 0]
    return f"{name} with ratio {ratio:g} draws no example of {', '.join(empty)}" if empty else ""
