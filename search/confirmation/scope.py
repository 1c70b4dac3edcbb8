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
    best trial of each of its `strategies`, for close followers of the leader, and for as many looks as
    the references and two finalists may need. `MIN_UNITS` units are always trained, and
    `PREFERRED_UNITS` before the first look where they are paid for.
    """
    paid = SHARE / (1 - SHARE) * search_stages
    asked = finalists if finalists is not None else min(strategies, MOST_FINALISTS)
    every = (asked + len(REFERENCES)) * tasks
    first = PREFERRED_UNITS if PREFERRED_UNITS * every <= paid else MIN_UNITS
    if finalists is None:
        affordable = math.floor(paid / (first * tasks)) - len(REFERENCES)
        finalists = max(asked, min(MOST_FINALISTS, affordable))
    if units is not None:
        return Scope(finalists, looks_within(units, PREFERRED_UNITS), None)
    count, spent = first, (finalists + len(REFERENCES)) * first * tasks
    for look in (one for one in LOOKS if one > first):
        spent += (CONTENDERS + len(REFERENCES)) * (look - count) * tasks
        if spent > paid:
            break
        count = look
    return Scope(finalists, looks_within(count, first), math.floor(paid))
