"""Scope of a confirmation: its finalists, units and looks, in proportion to what the search spends."""

from __future__ import annotations

import math
from dataclasses import dataclass

from search.confirmation.looks import LOOKS, MIN_UNITS, PREFERRED_UNITS, looks_within
from spaces.references import REFERENCES

SHARE = 0.35
"""Stages of a confirmation as a share of its own and the search's, if no number is asked for."""
MOST_FINALISTS = 8
"""Finalists beside the references, if no number is asked for."""
CONTENDERS = 2
"""Finalists beside the references that a further look needs at least."""


@dataclass(frozen=True)
class Scope:
    """Bounds of a confirmation. A stage is training on one task; joint tuning on T tasks counts as T."""

    finalists: int
    """Finalists at most, beside the references."""
    looks: tuple[int, ...]
    """Numbers of units after which the finalists are compared; the last is that of all units."""
    stages: int | None
    """Stages after which no further look begins; None = no limit. The first look is always made."""

    @property
    def units(self) -> int:
        """Number of units at most."""
        return self.looks[-1]

    def most_stages(self, tasks: int) -> int:
        """Return the stages of orderings of so many tasks that are trained at most."""
        every = (self.finalists + len(REFERENCES)) * tasks
        if self.stages is None:
            return every * self.units
        return min(every * self.units, max(every * self.looks[0], self.stages))


def confirmation_scope(
    search_stages: float,
    tasks: int,
    strategies: int,
    finalists: int | None = None,
    units: int | None = None,
) -> Scope:
    """Return the scope of the confirmation of a search that trains so many stages.

    `finalists` and `units` are those asked for. Without them, `SHARE` of the stages of both pays for the
    best trial of each of its `strategies`, then for as many looks as the references and two finalists may
    need, and then for close followers of the leader. `MIN_UNITS` units are always trained, and
    `PREFERRED_UNITS` before the first look where they and a second one are paid for.
    """
    if units is not None:
        return Scope(finalists or min(strategies, MOST_FINALISTS), looks_within(units), None)
    paid = SHARE / (1 - SHARE) * search_stages
    best = finalists if finalists is not None else min(strategies, MOST_FINALISTS)
    every = (best + len(REFERENCES)) * tasks
    looks, spent = _looks(paid, PREFERRED_UNITS, every, tasks)
    if len(looks) < 2 or spent > paid:  # one that comes early, and others while they are paid for
        looks, spent = _looks(paid, MIN_UNITS, every, tasks)
    if finalists is None:
        followers = math.floor(max(0.0, paid - spent) / (looks[0] * tasks))
        best = min(best + followers, max(best, MOST_FINALISTS))
    return Scope(best, looks, math.floor(paid))


def _looks(paid: float, first: int, every: int, tasks: int) -> tuple[tuple[int, ...], int]:
    """Return the looks that so many stages pay for, and their stages; the first one is always made.

    `every` are the stages of all finalists on one unit; beyond the first look, `CONTENDERS` are left.
    """
    count, spent = first, every * first
    for look in (one for one in LOOKS if one > first):
        more = (CONTENDERS + len(REFERENCES)) * (look - count) * tasks
        if spent + more > paid:
            break
        count, spent = look, spent + more
    return looks_within(count, first), spent
