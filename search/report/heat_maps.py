"""Score matrices as heat maps: which are shown, and their colours."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from search.results.formatting import format_number
from search.results.outcome import Outcome
from trainables.metrics.score_matrix import ScoreMatrix
from trainables.trial_record import TrialRecord

# Light to dark blue: colour-blind readers and grey printers keep the order.
COLOURS = ((247, 251, 255), (198, 219, 239), (107, 174, 214), (33, 113, 181), (8, 48, 107))
DARK = 0.55
"""Share of the colour scale above which text is white."""


def best_trials(outcome: Outcome) -> list[TrialRecord]:
    """Return the best finished trial of each strategy that has one."""
    names = [row["best"] for row in outcome.strategies.values() if row["best"]]
    return [outcome.run.trial(name) for name in names]


def captioned_matrices(trial: TrialRecord) -> dict[str, ScoreMatrix]:
    """Return a trial's matrices by caption: one alone if all orderings learn all tasks at once."""
    finals = [format_number(matrix.final_average()) for matrix in trial.matrices]
    if len(set(finals)) == 1 and all(map(is_single_stage, trial.matrices)):
        return {f"any ordering: final average {finals[0]}": trial.matrices[0]}
    return {
        f"ordering {i}: final average {final}": matrix
        for i, (final, matrix) in enumerate(zip(finals, trial.matrices, strict=True), start=1)
    }


def is_single_stage(matrix: ScoreMatrix) -> bool:
    """Return whether all tasks were learned in a single stage, as in joint tuning."""
    return matrix.stages > 1 and bool(np.isnan(matrix.values[1:-1]).all())


def score_limit(trials: Sequence[TrialRecord]) -> float:
    """Return the end of the shared colour scale: 1, or the highest score beyond it."""
    scores = [s for t in trials for matrix in t.matrices for s in matrix.values.ravel().tolist()]
    return max([1.0, *(score for score in scores if not math.isnan(score))])


def shade(score: float, limit: float) -> str:
    """Return the CSS of a cell whose score lies between 0 and `limit`."""
    share = min(1.0, max(0.0, score / limit))
    return f"background:{_colour(share)};color:{'#fff' if share > DARK else '#111'}"


def gradient() -> str:
    """Return the CSS of the whole colour scale."""
    return f"linear-gradient(90deg,{', '.join(_colour(i / 8) for i in range(9))})"


def _colour(share: float) -> str:
    place = share * (len(COLOURS) - 1)
    low = min(int(place), len(COLOURS) - 2)
    pairs = zip(COLOURS[low], COLOURS[low + 1], strict=True)
    return "rgb({},{},{})".format(*(round(a + (b - a) * (place - low)) for a, b in pairs))
