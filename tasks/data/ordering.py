"""Orderings of tasks: their names on the command line."""

from __future__ import annotations

import itertools
import math
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from spaces.errors import InputError, shown, unknown

MOST_ORDERINGS = math.factorial(7)  # of one panel: nobody trains more


@dataclass(frozen=True, order=True)
class TaskOrdering:
    """A sequence of tasks, written `a>b>c`."""

    tasks: tuple[str, ...]

    def __str__(self) -> str:
        return ">".join(self.tasks)

    def __len__(self) -> int:
        return len(self.tasks)

    def __iter__(self) -> Iterator[str]:
        return iter(self.tasks)


def parse_orderings(spec: str, tasks: Sequence[str]) -> tuple[TaskOrdering, ...]:
    """Parse the orderings of `tasks` that `spec` names; duplicates are dropped.

    - given | reverse | alphabetical | rotations (every task once in every position) | all
    - random:K@seed | shared:K | a>b>c;b>a>c
    - any of these joined by +
    """
    names = tuple(tasks)
    _require(bool(names), "an ordering needs at least one task: got none")
    _require(len(set(names)) == len(names), f"tasks must differ: got {', '.join(names)}")
    orderings = [order for part in spec.split("+") for order in _orderings(part.strip(), names)]
    _require(bool(orderings), f"orderings must name one at least: got {shown(spec)}")
    return tuple(TaskOrdering(order) for order in dict.fromkeys(orderings))


Order = tuple[str, ...]

NAMED_ORDERINGS: dict[str, Callable[[Order], list[Order]]] = {
    "given": lambda tasks: [tasks],
    "reverse": lambda tasks: [tasks[::-1]],
    "alphabetical": lambda tasks: [tuple(sorted(tasks))],
    "rotations": lambda tasks: [tasks[i:] + tasks[:i] for i in range(len(tasks))],
    "all": lambda tasks: _all(tasks),
}
COUNTED_ORDERINGS: dict[str, Callable[[Order, int, int], list[Order]]] = {
    "random": lambda tasks, count, seed: _random(tasks, count, seed),
    "shared": lambda tasks, count, seed: _shared(tasks, count),
}
FORMS = (*NAMED_ORDERINGS, "random:K", "random:K@seed", "shared:K", "a>b>c")


def _orderings(part: str, tasks: Order) -> list[Order]:
    """Parse one part of a specification (between two +)."""
    if part in NAMED_ORDERINGS:
        return NAMED_ORDERINGS[part](tasks)
    counted = re.fullmatch(r"(random|shared):([0-9]{1,18})(?:@([0-9]{1,18}))?", part)
    if counted and not (counted[1] == "shared" and counted[3]):
        count = _checked_count(part, int(counted[2]), len(tasks))
        return COUNTED_ORDERINGS[counted[1]](tasks, count, int(counted[3] or 0))
    if ">" in part or ";" in part or part in tasks:
        return [_explicit(one, tasks) for one in part.split(";") if one.strip()]
    raise unknown("ordering", part, FORMS)


def _checked_count(part: str, count: int, length: int) -> int:
    most = math.factorial(min(length, 7))
    _require(
        1 <= count <= most,
        f'"{part}" must ask for 1 to {most} orderings: {length} tasks have {_factorial(length)}'
        f"{f', and a panel holds at most {MOST_ORDERINGS}' if most == MOST_ORDERINGS else ''}; got {count}",
    )
    return count


def _explicit(text: str, tasks: Order) -> Order:
    names = tuple(name.strip() for name in text.split(">"))
    for name in names:
        if name not in tasks:
            raise unknown("task", name, tasks)
    twice = [name for name, times in Counter(names).items() if times > 1]
    missing = [name for name in tasks if name not in names]
    _require(
        not twice and not missing,
        f'an ordering holds every task once: "{text.strip()}"'
        + (f" repeats {', '.join(twice)}" if twice else "")
        + (" and" if twice and missing else "")
        + (f" omits {', '.join(missing)}" if missing else ""),
    )
    return names


def _all(tasks: Order) -> list[Order]:
    _require(
        len(tasks) <= 7,
        f'"all" is for at most 7 tasks ({MOST_ORDERINGS} orderings): {len(tasks)} tasks have '
        f"{_factorial(len(tasks))}; "
        f"ask for rotations ({len(tasks)}), shared:K or random:K@seed",
    )
    return list(itertools.permutations(tasks))


def _factorial(length: int) -> str:
    """Return the number of orderings; Python does not write out that of thousands of tasks."""
    return str(math.factorial(length)) if length <= 20 else "more than 10^18"


def _random(tasks: Order, count: int, seed: int) -> list[Order]:
    rng, orderings = random.Random(seed), {}
    while len(orderings) < count:
        orderings[tuple(rng.sample(tasks, len(tasks)))] = None
    return list(orderings)


def _shared(tasks: Order, count: int) -> list[Order]:
    """Return `count` orderings that share prefixes; first and last tasks vary as evenly as possible.

    Orderings share stages only if they begin alike. So half as many tasks as orderings come first, or
    all of them from two orderings a task on. Orderings that begin alike differ in their last tasks.
    """
    groups = _group_count(len(tasks), count)
    starts = [group * len(tasks) // groups for group in range(groups)]
    lasts: Counter[str] = Counter()
    orderings: list[Order] = []
    for group, start in enumerate(starts):
        size = count * (group + 1) // groups - count * group // groups
        later = {tasks[other] for other in starts[group + 1 :]}
        orderings += _sharing(tasks[start:] + tasks[:start], size, lasts, later)
    return orderings


def _group_count(length: int, count: int) -> int:
    """Return how many tasks come first: one for two orderings, if there are two ways to go on."""
    return min(length, -(-count // min(2, math.factorial(length - 1))))


def _sharing(tasks: Order, size: int, lasts: Counter[str], later: set[str]) -> list[Order]:
    """Return `size` orderings that begin with tasks[0].

    `lasts` counts the last tasks of all groups so far, and is updated; `later` are the first tasks of
    the groups that follow.
    """
    first, others = tasks[0], tasks[1:]
    if not others:
        return [tasks]
    ends = _choose_lasts(others, size, lasts, later)
    late = sorted(others, key=lambda task: task in ends)  # what differs goes to the end
    used: Counter[str] = Counter()
    orderings = []
    for last in ends:
        middles = itertools.permutations(task for task in late if task != last)
        orderings.append((first, *next(itertools.islice(middles, used[last], None)), last))
        used[last] += 1
    return orderings


def _choose_lasts(others: Order, size: int, lasts: Counter[str], later: set[str]) -> list[str]:
    """Choose the last task of each ordering: the one that was last least often here, then in all groups.

    Among equals, tasks that come first in a later group go before others; then the latest in order.
    """
    ends: Counter[str] = Counter()
    for _ in range(size):
        last = min(reversed(others), key=lambda task: (ends[task], lasts[task], task not in later))
        ends[last] += 1
        lasts[last] += 1
    return list(ends.elements())


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise InputError(message)
