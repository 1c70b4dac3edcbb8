"""Test of a search's answer: its best trial must have learned something."""

from __future__ import annotations

import math

import numpy as np

from search.results.formatting import format_number
from search.results.outcome import Outcome
from spaces.references import REFERENCES


def why_no_answer(outcome: Outcome) -> str:
    """Return why a search recommends nothing, in a sentence; empty if it has an answer."""
    if outcome.best_trial is None:
        searched = [r for r in outcome.trials.values() if r["strategy"] not in REFERENCES]
        if searched and all(row["state"] in ("failed", "diverged") for row in searched):
            return "No answer: every trial failed or diverged."
        return "No answer: no trial has finished."
    trained, untrained = _means(outcome, outcome.best_trial)
    if trained == 0:
        return (
            f"No answer: even the best trial, {outcome.best_trial}, scores 0.000 on every task after its "
            "last stage. Longer training, a higher learning rate or another answer format may help."
        )
    if trained <= untrained:  # False if either is NaN
        return (
            f"No answer: the best trial, {outcome.best_trial}, scores {format_number(trained)} after its "
            f"last stage, and the untrained model {format_number(untrained)}: training did not help."
        )
    return ""


def _means(outcome: Outcome, name: str) -> tuple[float, float]:
    """Return a trial's mean score after its last stage and before its first, on the same tasks."""
    before, after = [], []
    for matrix in outcome.run.trial(name).matrices:
        first, last = matrix.values[0, : matrix.stages], matrix.values[-1, : matrix.stages]
        known = ~(np.isnan(first) | np.isnan(last))
        before.extend(first[known])
        after.extend(last[known])
    if not after:
        return math.nan, math.nan
    return float(np.mean(after)), float(np.mean(before))
