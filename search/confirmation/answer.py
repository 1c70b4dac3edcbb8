"""The answer of a confirmation as lines: its table, and its verdict in sentences."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from search.confirmation.course import course_of, wanted_runs
from search.confirmation.estimates import mean_interval
from search.confirmation.finalists import read_confirmation
from search.confirmation.looks import LOOKS
from search.confirmation.results import TEST, VALIDATION, Confirmation, cell_name, read_results
from search.confirmation.sentences import called, verdict_sentences, verdict_table
from search.confirmation.verdict import Verdict, judge
from search.plan.protocol import chose_nothing
from search.plan.saved_plan import read_saved_plan
from search.results.example_bootstrap import example_line, example_spread
from trainables.metrics.glossary import GENERAL_KL, OF_GENERAL

COLUMNS = (*OF_GENERAL, GENERAL_KL)
"""Metrics of general tasks, in the order of their table."""


def read_answer(run: Path) -> tuple[Confirmation, Verdict] | None:
    """Read a search's confirmation, and judge it; None if it has none."""
    plan = read_confirmation(run)
    if plan is None:
        return None
    confirmation = read_results(run, plan)
    return confirmation, judge(confirmation)


def result_lines(confirmation: Confirmation) -> list[str]:
    """Return the table and the verdict of a confirmation, and whether runs are still missing."""
    verdict, plan = judge(confirmation), confirmation.plan
    table = [*verdict_table(verdict, plan), *example_lines(confirmation, verdict)]
    return [*table, "", *closing_lines(confirmation, verdict)]


def closing_lines(confirmation: Confirmation, verdict: Verdict) -> list[str]:
    """Return the runs that are still missing, if there are any, and the verdict in one line."""
    lines = []
    if left := len(wanted_runs(confirmation)):
        until = course_of(confirmation).units
        lines += [f"Not finished: {left} runs up to unit {until} are missing; confirm.py goes on."]
    sentences = " ".join(verdict_sentences(verdict, confirmation.plan))
    return [*lines, sentences, *general_lines(confirmation)]


def example_lines(confirmation: Confirmation, verdict: Verdict) -> list[str]:
    """Return a line on how far the recommended figure depends on the test examples; none without one."""
    if confirmation.run is None or verdict.recommended not in verdict.tested:
        return []
    named = {one.name: called(one) for one in confirmation.plan.finalists}
    rival = verdict.rival
    units = min(_tested(confirmation, name, verdict.units) for name in (verdict.recommended, rival))
    if not units:
        return []
    spread = example_spread(confirmation, verdict.recommended, rival, units)
    own = verdict.tested[verdict.recommended]
    return [example_line(spread, named[verdict.recommended], named.get(rival, ""), own.half)]


def _tested(confirmation: Confirmation, name: str, units: int) -> int:
    """Return the first units on which a finalist was scored on the test split; all without a name."""
    known = [confirmation.score(unit, name, "test") is not None for unit in range(units)]
    return units if not name or all(known) else known.index(False)


def confirmed_lines(run: Path) -> list[str]:
    """Return the table and the verdict of a search's confirmation; nothing if it has none."""
    answer = read_answer(run)
    return result_lines(answer[0]) if answer else []


def confirmed_on(run: Path) -> str:
    """Return what the units of a search's confirmation, made or to be made, have that chose nothing."""
    if (answer := read_answer(run)) is None:
        return chose_nothing(read_saved_plan(run).plan.held_out_tasks)
    confirmation, verdict = answer
    plan = confirmation.plan
    return chose_nothing(plan.held_out_tasks, plan.repeats(verdict.units or len(plan.units)))


@dataclass(frozen=True)
class Spent:
    """Stages of a confirmation; joint tuning is one."""

    trained: int
    shared: int
    """Stages taken from the store."""
    seconds: float
    """Seconds of training of one rank."""


def confirmation_spent(run: Path) -> Spent | None:
    """Return what a search's confirmation trained; None if it has none.

    Runs on the test split train nothing: they score the stages of the others.
    """
    if (answer := read_answer(run)) is None:
        return None
    stages = [
        stage
        for name, record in answer[0].records.items()
        if name.endswith(f"-{VALIDATION}")
        for stage in record.stages
    ]
    trained = [stage for stage in stages if stage.trained]
    seconds = math.fsum(stage.train_seconds for stage in trained)
    return Spent(len(trained), len(stages) - len(trained), seconds)


def units_that_tell_more(run: Path) -> int | None:
    """Return the units to ask for if a finished confirmation names no single best; None otherwise."""
    answer = read_answer(run)
    if answer is None or wanted_runs(answer[0]) or not answer[1].together[1:]:
        return None
    return next((look for look in LOOKS if look >= 2 * answer[1].units), None)


def recommended(run: Path) -> str | None:
    """Return the trial that a search's confirmation recommends; None if it has none, or cannot tell."""
    answer = read_answer(run)
    if answer is None:
        return None
    confirmation, verdict = answer
    trials = {one.name for one in confirmation.plan.finalists if one.is_tuned}
    told = verdict.kind != "cannot tell" and verdict.recommended in trials
    return verdict.recommended if told else None


def export_notes(run: Path, chosen: str) -> list[str]:
    """Return what a confirmation says against an exported trial, in lines; nothing if it agrees."""
    answer = read_answer(run)
    if answer is None:
        return []
    if answer[1].kind == "cannot tell":
        return [
            "the confirmation cannot tell the finalists apart: this is the best of the search itself"
        ]
    if answer[1].recommended == chosen:
        return []
    confirmation, verdict = answer
    named = {one.name: one for one in confirmation.plan.finalists}
    if named[verdict.leader].is_plain:
        surely = chosen in verdict.behind and chosen not in verdict.together
        how = "is surely behind it" if surely else "is not told apart from it"
        how = how if chosen in named else "was not confirmed"
        return [f"{called(named[verdict.leader])} leads the confirmation, and {chosen} {how}"]
    return [f"the confirmation recommends {called(named[verdict.recommended])}, not {chosen}"]


def general_lines(confirmation: Confirmation) -> list[str]:
    """Return a table of general average, drift and divergence; nothing without general tasks.

    Means and intervals are over each finalist's finished units.
    """
    rows = []
    for finalist in confirmation.plan.finalists:
        names = (cell_name(n, finalist.name, TEST) for n in range(len(confirmation.plan.units)))
        records = [r for n in names if (r := confirmation.records.get(n)) and r.state == "finished"]
        values = [[record.metrics.get(column) for record in records] for column in COLUMNS]
        known = [[v for v in column if v is not None] for column in values]
        if any(known):
            cells = [str(mean_interval(column)) if column else "-" for column in known]
            rows.append(f"{called(finalist):24}" + "".join(f"{c:26}" for c in cells).rstrip())
    if not rows:
        return []
    head = "".join(f"{column.replace('_', ' '):26}" for column in COLUMNS).rstrip()
    return ["", f"{'general tasks, test':24}{head}", *rows]
