"""The answer of a confirmation as lines: its table, and its verdict in sentences."""

from __future__ import annotations

from pathlib import Path

from search.confirmation.finalists import read_confirmation
from search.confirmation.general import general_lines
from search.confirmation.results import Confirmation, read_results
from search.confirmation.sentences import verdict_sentences, verdict_table
from search.confirmation.verdict import judge


def result_lines(confirmation: Confirmation) -> list[str]:
    """Return the table and the verdict of a confirmation, and whether runs are still missing."""
    verdict, plan = judge(confirmation), confirmation.plan
    lines = [*verdict_table(verdict, plan), ""]
    if left := len(confirmation.wanted()):
        until = confirmation.contenders()[0]
        lines += [f"Not finished: {left} runs up to unit {until} are missing; confirm.py goes on."]
    return [*lines, " ".join(verdict_sentences(verdict, plan)), *general_lines(confirmation)]


def confirmed_lines(run: Path) -> list[str]:
    """Return the table and the verdict of a search's confirmation; nothing if it has none."""
    plan = read_confirmation(run)
    return result_lines(read_results(run, plan)) if plan else []


def recommended(run: Path) -> str | None:
    """Return the trial that a search's confirmation recommends; None if it has none, or cannot tell."""
    plan = read_confirmation(run)
    if plan is None:
        return None
    verdict = judge(read_results(run, plan))
    trials = {finalist.name for finalist in plan.finalists if finalist.name != finalist.strategy}
    told = verdict.kind != "cannot tell" and verdict.recommended in trials
    return verdict.recommended if told else None
