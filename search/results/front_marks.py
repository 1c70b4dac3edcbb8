"""Marks of the Pareto front's trials: ties, and trials that learned little."""

from __future__ import annotations

from search.results.cautions import trials_with_little_learned
from search.results.formatting import format_number
from search.results.outcome import Outcome


def front_marks(outcome: Outcome) -> dict[str, str]:
    """Return what to know of a trial of the front, by name; nothing of most.

    Trials tie that have the same value of each objective as printed.
    """
    little = trials_with_little_learned(outcome)
    alike: dict[tuple[str, ...], list[str]] = {}
    for name in outcome.front:
        row = outcome.trials[name]
        printed = tuple(format_number(row[metric]) for metric, _ in outcome.objectives)
        alike.setdefault(printed, []).append(name)
    marks: dict[str, list[str]] = {}
    for names in alike.values():
        for name in names:
            others = [other for other in names if other != name]
            marks[name] = [f"ties with {', '.join(others)}"] if others else []
            marks[name] += ["learns little"] if name in little else []
    return {name: ", ".join(own) for name, own in marks.items() if own}
