"""Course of a confirmation: who is trained on which unit, until it ends."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from search.confirmation.results import SPLITS, TEST, VALIDATION, Confirmation
from spaces.references import REFERENCES


@dataclass
class Course:
    """State of a confirmation by the scores that it has."""

    contenders: list[str]
    """Finalists that may still be best; joint tuning never is."""
    units: int = 0
    """Units up to the look that is due; once it has ended, those of the last look."""
    ended: bool = False
    dropped: list[str] = field(default_factory=list)
    """Finalists that were surely behind at a look, the first ones first."""


def course_of(confirmation: Confirmation) -> Course:
    """Follow a confirmation from look to look as far as its scores go.

    At each look, contenders that are surely behind drop out. It ends when one is left, before a look
    that would exceed the stages of its plan, or after the last look. The first look is always made.
    """
    plan, out = confirmation.plan, confirmation.out()
    names = [one.name for one in plan.finalists if one.may_win and one.name not in out]
    course, spent = Course(names), 0
    for units in plan.looks:
        spent += _stages(confirmation, course.contenders, units - course.units)
        is_first = course.units == 0
        if not is_first and plan.most_stages is not None and spent > plan.most_stages:
            break
        course.units = units
        scores = confirmation.paired(course.contenders, units)
        if course.contenders and scores is None:
            return course
        if scores:
            found = confirmation.compared(scores, units)
            course.dropped += sorted(found.surely_behind, key=found.adjusted.__getitem__)
            course.contenders = [n for n in course.contenders if n not in course.dropped]
        if len(course.contenders) < 2:
            break
    course.ended = True
    return course


def wanted_runs(confirmation: Confirmation) -> list[tuple[int, str, str]]:
    """Return (unit, finalist, split) of the runs that are missing before the next look or the end.

    References stay to the end, for the gap between them is measured on all units. Who has dropped out is
    still scored on the test split, where it was trained: both columns of the table are over the same units.
    """
    course, out = course_of(confirmation), confirmation.out()
    stay = {*course.contenders, *_references(confirmation)}
    every = [one.name for one in confirmation.plan.finalists if one.name not in out]

    def is_due(unit: int, name: str, split: str) -> bool:
        trained = split == TEST and confirmation.ended(unit, name, VALIDATION)
        return (name in stay or trained) and not confirmation.ended(unit, name, split)

    cells = itertools.product(range(course.units), every, SPLITS)
    return [cell for cell in cells if is_due(*cell)]


def _references(confirmation: Confirmation) -> list[str]:
    return [one.name for one in confirmation.plan.finalists if one.strategy in REFERENCES]


def _stages(confirmation: Confirmation, contenders: Sequence[str], units: int) -> int:
    """Return the stages of the contenders and the references on further units."""
    trained = {*contenders, *_references(confirmation)}
    return len(trained) * units * len(confirmation.plan.unit(0).ordering)
