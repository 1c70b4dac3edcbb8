"""Verdict of a confirmation: who is best, who is not told apart, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from search.confirmation.costs import Costs, measure_costs
from search.confirmation.course import course_of
from search.confirmation.estimates import LEVEL, Interval, Spread, mean_interval, ratio_interval
from search.confirmation.finalists import Finalist
from search.confirmation.looks import POOLED_FACTOR, PREFERRED_UNITS, Comparison, tells
from search.confirmation.results import TEST, VALIDATION, Confirmation
from search.plan.preferences import Preference
from spaces.references import CEILING, FLOOR

Kind = Literal[
    "best",
    "not told apart",
    "nothing beats tuned finetune",
    "nothing beats plain tuning",
    "cannot tell",
]

CLOSE = 0.1
"""Share of joint tuning's score to which differences are known well enough, however small the gap is."""
NEAR = 1 / 3
"""Standard errors behind the leader up to which the cheaper finalist is taken.

On the recorded table (`benchmarks.calibration.replay`), the one recommended is then within noise of the
best in hindsight in more than 90 % of searches; with 1 standard error, as for pruned trees (Breiman et
al. 1984), in 85 %.
"""


@dataclass(frozen=True)
class Verdict:
    """The answer of a search, by units that chose nothing."""

    kind: Kind
    leader: str
    """Finalist with the highest mean; empty if there is none."""
    recommended: str
    """Finalist to export: the leader, or of several that are not told apart the one preferred."""
    together: tuple[str, ...]
    """Finalists that are not told apart, the leader first."""
    units: int
    """Units of the last look; before the first one, those that all finalists have in common."""
    too_few: bool
    """True where these units are too few to tell anything apart."""
    scores: Mapping[str, Interval]
    """Mean of each finalist on the validation split, over the units that it has up to that look."""
    tested: Mapping[str, Interval]
    """The same on the test split, which chose nothing."""
    behind: Mapping[str, Interval]
    """Lead of the leader over each other finalist that is not out, on their common units.

    The interval of a finalist that may win leaves 0 out only where `compare` finds it behind.
    """
    closed: Interval | None
    """Share of the gap that the recommended one closes, on the test split; None if the gap is not clear."""
    gap: Interval | None
    """Difference of ceiling and floor on the validation split; None if either is missing."""
    out: frozenset[str]
    """Finalists that are compared with none, since a run ended without a score."""
    costs: Costs
    """Costs of those within `NEAR` standard errors of the leader; without values if there is only one."""
    rival: str
    """Finalist to compare the recommended one with: the leader, or the next one; empty without one."""


def judge(confirmation: Confirmation, preference: Preference | None = None) -> Verdict:
    """Return the verdict on what a confirmation has so far.

    `preference`: cost that decides among finalists that are not told apart; by default the plan's.
    """
    if preference:
        confirmation = confirmation.preferring(preference)
    units, names = _units_to_judge(confirmation)
    named = {finalist.name: finalist for finalist in confirmation.plan.finalists}
    paired = confirmation.paired(names, units) if units else None
    comparison = confirmation.compared(paired, units) if paired else Comparison("", {}, ())
    leader = comparison.leader
    together = comparison.together if leader else tuple(names)
    behind = _behind(confirmation, comparison, units) if leader else {}
    costs, near = Costs(confirmation.plan.prefer), _near(together, behind)
    if leader and near[1:]:
        costs = measure_costs(confirmation, near, units)
    scores = _means(confirmation, units, VALIDATION)
    recommended = max(costs.cheapest() or [leader], key=lambda name: _estimate(scores, name))
    gap = _gap(confirmation, units)
    ceiling = _estimate(scores, confirmation.plan.reference(CEILING))
    too_few = units < confirmation.plan.looks[0] or not tells(units, confirmation.spread(units))
    return Verdict(
        kind=_kind(too_few, [named[name] for name in together], behind, gap, ceiling),
        leader=leader,
        recommended=recommended,
        together=together,
        units=units,
        too_few=too_few,
        scores=scores,
        tested=_means(confirmation, units, TEST),
        behind=behind,
        closed=_closed(confirmation, recommended, units),
        gap=gap,
        out=frozenset(confirmation.out()),
        costs=costs,
        rival=leader if recommended != leader else _next(confirmation, behind),
    )


def _near(together: Sequence[str], behind: Mapping[str, Interval]) -> list[str]:
    """Return the leader, and those not told apart from it that are close enough to be chosen by their cost.

    Few units tell little apart, and a cheaper finalist that is far behind is no good choice.
    """
    close = [
        n for n in together[1:] if n in behind and behind[n].estimate <= NEAR * behind[n].error
    ]
    return [*together[:1], *close]


def _next(confirmation: Confirmation, behind: Mapping[str, Interval]) -> str:
    others = [f.name for f in confirmation.plan.finalists if f.may_win and f.name in behind]
    return min(others, key=lambda name: behind[name].estimate, default="")


def _estimate(scores: Mapping[str, Interval], name: str) -> float:
    return scores[name].estimate if name in scores else -math.inf


def _kind(
    too_few: bool,
    together: Sequence[Finalist],
    behind: Mapping[str, Interval],
    gap: Interval | None,
    ceiling: float,
) -> Kind:
    if too_few or not together:
        return "cannot tell"
    widest = max((behind[one.name].half for one in together[1:]), default=0.0)
    if gap is not None and widest > max(abs(gap.estimate), CLOSE * abs(ceiling)):
        return "cannot tell"
    if plain := [one for one in together if one.is_plain]:
        tuned = any(one.is_tuned for one in plain)
        return "nothing beats tuned finetune" if tuned else "nothing beats plain tuning"
    return "not told apart" if together[1:] else "best"


def _units_to_judge(confirmation: Confirmation) -> tuple[int, list[str]]:
    """Return the units of the last look, and the contenders.

    Units beyond that look wait for the next one: each comparison in between would add to the error.
    Before the first look, these are the units that all have in common, and nothing is told apart on them.
    """
    course = course_of(confirmation)
    units, names = course.units, course.contenders
    if not names:
        return 0, []
    if course.ended:
        return units, names
    if done := [look for look in confirmation.plan.looks if look < units]:
        return done[-1], names
    while units and confirmation.paired(names, units) is None:
        units -= 1
    return units, names


def _values(
    confirmation: Confirmation, name: str, units: int, split: str = VALIDATION
) -> list[float | None]:
    """Return a finalist's scores on the units of a look, or on all units before the first one."""
    some = range(units or len(confirmation.plan.units))
    return [confirmation.score(unit, name, split) for unit in some]


def _means(confirmation: Confirmation, units: int, split: str) -> dict[str, Interval]:
    found = {}
    for finalist in confirmation.plan.finalists:
        values = _values(confirmation, finalist.name, units, split)
        if known := [value for value in values if value is not None]:
            found[finalist.name] = mean_interval(known)
    return found


def _differences(confirmation: Confirmation, one: str, other: str, units: int) -> list[float]:
    both = (_values(confirmation, name, units) for name in (one, other))
    return [a - b for a, b in zip(*both, strict=True) if a is not None and b is not None]


def _behind(confirmation: Confirmation, comparison: Comparison, units: int) -> dict[str, Interval]:
    """Return the intervals of the leader's lead, each at the level at which Holm's procedure tests it.

    That is the level of a look, divided by the finalists that were not yet behind.
    """
    leader, out, dropped = comparison.leader, confirmation.out(), course_of(confirmation).dropped
    left = max(1, len(comparison.together) - 1)
    tests = dict.fromkeys(comparison.together, left)
    tests |= {
        name: len(dropped) - rank + len(comparison.together) - 1
        for rank, name in enumerate(dropped)
    }
    step, spread, found = confirmation.plan.step, confirmation.spread(units), {}
    for name in (finalist.name for finalist in confirmation.plan.finalists):
        own = _differences(confirmation, leader, name, units)
        if own and name != leader and name not in out:
            level = 1 - comparison.alpha / tests.get(name, 1)
            found[name] = mean_interval(own, level, step, spread)
    return found


def _gap(confirmation: Confirmation, units: int) -> Interval | None:
    """Return the gap from floor to ceiling on the validation split; None without common units."""
    columns = _reference_columns(confirmation, units, VALIDATION, ())
    if not columns:
        return None
    level, spread = _reference_spread(confirmation, units)
    return mean_interval(np.subtract(columns[1], columns[0]).tolist(), level, spread=spread)


def _closed(confirmation: Confirmation, name: str, units: int) -> Interval | None:
    """Return the share of the gap that a finalist closes, on the test split where that is scored."""
    chose, tested = (
        _reference_columns(confirmation, units, split, (name,)) for split in (VALIDATION, TEST)
    )
    known = tested if [*map(len, tested)] == [*map(len, chose)] else chose
    if not known or name == confirmation.plan.reference(FLOOR):
        return None
    floor, ceiling, own = known
    level, spread = _reference_spread(confirmation, units)
    gain, gap = np.subtract(own, floor).tolist(), np.subtract(ceiling, floor).tolist()
    return ratio_interval(gain, gap, level, spread)


def _reference_columns(
    confirmation: Confirmation, units: int, split: str, names: Sequence[str]
) -> list[list[float]]:
    """Return the scores of floor, ceiling and some finalists on their common units."""
    every = (*map(confirmation.plan.reference, (FLOOR, CEILING)), *names)
    columns = [_values(confirmation, one, units, split) for one in every]
    rows = [[s for s in row if s is not None] for row in zip(*columns, strict=True)]
    return [list(column) for column in zip(*(r for r in rows if len(r) == len(every)), strict=True)]


def _reference_spread(confirmation: Confirmation, units: int) -> tuple[float, Spread | None]:
    """Return level and spread of a comparison with the references, which vary otherwise than the rest.

    With few units alone, the spread of all replaces their own; the level allows for it.
    """
    if units >= PREFERRED_UNITS or (spread := confirmation.spread(units)) is None:
        return LEVEL, None
    return 1 - (1 - LEVEL) * POOLED_FACTOR, spread
