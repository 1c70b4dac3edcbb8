"""Draw of the units that a confirmation trains on: fresh orderings, each at a fresh seed."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from collections.abc import Iterable, Sequence

from trainables.store.digest import digest
from trainables.unit import Unit

MOST_LISTED = 40_320
"""Orderings that are listed to draw from; of more, some are drawn one by one."""


def draw_units(
    tasks: Sequence[str], used: Iterable[tuple[str, ...]], count: int, seed: int
) -> list[Unit]:
    """Draw `count` units whose orderings are none of `used`, and whose seeds differ from `seed`.

    Orderings share no first tasks while there are enough: a common beginning would make two units
    alike. Shorter ones of `used` are beginnings that the search trained, and count likewise. If there are
    too few orderings, some are repeated at another seed. The draw depends on the arguments alone, and more
    units begin with the same ones.
    """
    rng, taken = random.Random(int(digest("confirmation", seed)[:12], 16)), set(used)
    begun = [ordering for ordering in sorted(taken) if len(ordering) < len(tasks)]
    orderings: list[tuple[str, ...]] = []
    while len(orderings) < count:
        fresh = _candidates(tasks, taken, rng)
        if not fresh:  # every ordering was used: begin again with those that the units used least
            taken = set(used) if orderings_left(tasks, used) else set()
            taken |= _most_used(orderings)
            continue
        ordering = min(fresh, key=lambda one: _shared(one, [*orderings, *begun]))
        orderings.append(ordering)
        taken.add(ordering)
    seeds = (int(digest("unit", seed, number)[:7], 16) for number in itertools.count())
    fresh_seeds = (one for one in seeds if one != seed)
    return [Unit(ordering, next(fresh_seeds)) for ordering in orderings]


def fresh_orderings(units: Sequence[Unit], used: Iterable[tuple[str, ...]]) -> int:
    """Count the units whose ordering is in no other unit and not among `used`."""
    counts, used = Counter(unit.ordering for unit in units), set(used)
    return sum(counts[unit.ordering] == 1 and unit.ordering not in used for unit in units)


def _most_used(orderings: Sequence[tuple[str, ...]]) -> set[tuple[str, ...]]:
    """Return the orderings that occur more often than the rarest one; none if all are equally rare."""
    counts = Counter(orderings)
    return {one for one, count in counts.items() if count > min(counts.values())}


def orderings_left(tasks: Sequence[str], used: Iterable[tuple[str, ...]]) -> int:
    """Return the number of orderings of all tasks that a search did not use."""
    whole = {ordering for ordering in used if len(ordering) == len(tasks)}
    return math.factorial(len(tasks)) - len(whole)


def _candidates(
    tasks: Sequence[str], taken: set[tuple[str, ...]], rng: random.Random
) -> list[tuple[str, ...]]:
    """Return orderings in random order that are not taken."""
    if math.factorial(len(tasks)) <= MOST_LISTED:
        listed = [one for one in itertools.permutations(sorted(tasks)) if one not in taken]
        return rng.sample(listed, len(listed))
    drawn: list[tuple[str, ...]] = []
    while len(drawn) < 256:
        one = tuple(rng.sample(sorted(tasks), len(tasks)))
        drawn += [one] if one not in taken else []
    return drawn


def _shared(ordering: tuple[str, ...], others: Iterable[tuple[str, ...]]) -> int:
    """Count the stages that an ordering shares with others, in all."""
    return sum(_prefix(ordering, other) ** 2 for other in others)


def _prefix(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
