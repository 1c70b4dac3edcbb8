"""Dependence of a panel's orderings: stages that they share, and how alike their scores are."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from search.results.outcome import Outcome
from spaces.references import CEILING

FEWEST_TRIALS = 4
"""Finished trials from which on a correlation is shown."""


def panel_note(outcome: Outcome) -> list[str]:
    """Return sentences on how independent the orderings are, if the panel has several of them.

    Trials that share stages between orderings share their luck, too: the deviation over orderings is no
    interval. A confirmation's units share no ordering and no seed.
    """
    orderings = outcome.run.orderings
    if not orderings[1:]:
        return []
    shared, total = shared_stages(orderings), sum(map(len, orderings))
    notes = [f"Orderings share {shared} of {total} stages: the deviation over them is no interval."]
    correlations, trials = ordering_correlations(outcome)
    if correlations:
        alike = f"{np.mean(correlations):.2f} over {trials} finished trials"
        notes.append(f"Their final averages correlate by {alike}.")
    return notes


def shared_stages(orderings: Sequence[Sequence[str]]) -> int:
    """Count the stages of all orderings that another ordering begins with, too."""
    begun = [tuple(one[:length]) for one in orderings for length in range(1, len(one) + 1)]
    return sum(begun.count(stage) > 1 for stage in begun)


def ordering_correlations(outcome: Outcome) -> tuple[list[float], int]:
    """Return Pearson's correlation of final averages for each pair of orderings, and the trials behind it.

    Joint tuning is left out: its one run stands for all orderings. There are no correlations below
    `FEWEST_TRIALS` trials, and none of orderings on which all trials end alike.
    """
    walked = [t for t in outcome.run.trials if t.state == "finished" and t.strategy != CEILING]
    finals = np.array([[m.final_average() for m in trial.matrices] for trial in walked])
    if len(walked) < FEWEST_TRIALS or finals.ndim < 2:
        return [], len(walked)
    known = finals[~np.isnan(finals).any(axis=1)]
    pairs = itertools.combinations(known.T, 2)
    varied = [pair for pair in pairs if len(known) >= FEWEST_TRIALS and min(map(np.ptp, pair)) > 0]
    return [float(np.corrcoef(*pair)[0, 1]) for pair in varied], len(known)
