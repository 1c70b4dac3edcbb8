"""Verdict of a confirmation: who is best, who is not told apart, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from search.confirmation.estimates import Interval, mean_interval, ratio_interval
from search.confirmation.looks import FEWEST, NOMINAL, Comparison, compare
from search.confirmation.results import TEST, VALIDATION, Confirmation
from spaces.references import CEILING, FLOOR

Kind = Literal["best", "not told apart", "nothing beats tuned finetune", "cannot tell"]


@dataclass(frozen=True)
class Verdict:
    """The answer of a search, by units that chose nothing."""

    kind: Kind
    recommended: str
    """Finalist to export; by its mean, or, among several, by the user's preference."""
    together: tuple[str, ...]
    """Finalists that are not told apart, the recommended one included."""
    units: int
    """Units that all finalists still in have in common."""
    scores: Mapping[str, Interval]
    """Mean of each finalist on the validation split, over the units that it has."""
    tested: Mapping[str, Interval]
    """The same on the test split, which chose nothing."""
    behind: Mapping[str, Interval]
    """Difference of the leader to each other finalist on their common units, at the looks' level."""
    closed: Interval | None
    """Share of the gap from floor to ceiling that is closed; None where the gap itself is not clear."""
    gap: Interval | None
    """Difference of ceiling and floor; None if either is missing."""


def judge(confirmation: Confirmation, preference: Sequence[str] = ()) -> Verdict:
    """Return the verdict on what a confirmation has so far.

    `preference`: finalists in the order in which the user would take them, the cheapest first. It
    decides among several that are not told apart.
    """
    units, names = _common(confirmation)
    everyone = [finalist.name for finalist in confirmation.plan.finalists]
    plain = [finalist.name for finalist in confirmation.plan.finalists if finalist.is_plain]
    scores = _means(confirmation, everyone, VALIDATION)
    looks = len(confirmation.plan.looks)
    paired = confirmation.paired(names, units) if units else None
    comparison = compare(paired, looks) if paired else Comparison("", {}, ())
    leader = comparison.leader
    together = comparison.together if leader else tuple(names)
    behind = _behind(confirmation, leader, everyone, looks) if leader else {}
    gap, closed = _gap(confirmation, leader)
    by_preference = [name for name in preference if name in together]
    recommended = by_preference[0] if len(together) > 1 and by_preference else leader
    return Verdict(
        kind=_kind(units, together, plain, behind, gap),
        recommended=recommended,
        together=together,
        units=units,
        scores=scores,
        tested=_means(confirmation, everyone, TEST),
        behind=behind,
        closed=closed,
        gap=gap,
    )


def _kind(
    units: int,
    together: Sequence[str],
    plain: Sequence[str],
    behind: Mapping[str, Interval],
    gap: Interval | None,
) -> Kind:
    if units < FEWEST or not together:
        return "cannot tell"
    widest = max((behind[name].half for name in together[1:]), default=0.0)
    if gap is not None and widest > abs(gap.estimate):
        return "cannot tell"
    if any(name in plain for name in together):
        return "nothing beats tuned finetune"
    return "not told apart" if together[1:] else "best"


def _common(confirmation: Confirmation) -> tuple[int, list[str]]:
    """Return the most units that all finalists still in have in common, and those finalists."""
    units, names, over = confirmation.contenders()
    if over or not names:
        return units if names else 0, names
    while units and confirmation.paired(names, units) is None:
        units -= 1
    return units, names


def _values(confirmation: Confirmation, name: str, split: str = VALIDATION) -> list[float | None]:
    return [confirmation.score(unit, name, split) for unit in range(len(confirmation.plan.units))]


def _means(confirmation: Confirmation, names: Sequence[str], split: str) -> dict[str, Interval]:
    found = {}
    for name in names:
        known = [value for value in _values(confirmation, name, split) if value is not None]
        if known:
            found[name] = mean_interval(known)
    return found


def _differences(confirmation: Confirmation, one: str, other: str) -> list[float]:
    pairs = zip(_values(confirmation, one), _values(confirmation, other), strict=True)
    return [a - b for a, b in pairs if a is not None and b is not None]


def _behind(
    confirmation: Confirmation, leader: str, names: Sequence[str], looks: int
) -> dict[str, Interval]:
    """Return the intervals of the leader's lead at the level of a look, divided by the comparisons."""
    others = [name for name in names if name != leader]
    level = 1 - NOMINAL[looks] / max(1, len(others))
    found = {name: _differences(confirmation, leader, name) for name in others}
    return {name: mean_interval(own, level) for name, own in found.items() if own}


def _gap(confirmation: Confirmation, leader: str) -> tuple[Interval | None, Interval | None]:
    """Return the gap from floor to ceiling, and the leader's share of it, on common units."""
    columns = [_values(confirmation, name) for name in (FLOOR, CEILING, leader or FLOOR)]
    rows = [row for row in zip(*columns, strict=True) if None not in row]
    if not rows or not leader:
        return None, None
    floor, ceiling, best = np.array(rows, dtype=np.float64).T
    return mean_interval((ceiling - floor).tolist()), ratio_interval(
        (best - floor).tolist(), (ceiling - floor).tolist()
    )
