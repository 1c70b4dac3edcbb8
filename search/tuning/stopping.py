"""Early stopping: three rules that compare a trial with others at the same stage of the panel.

After each stage of a trial, a rule gets its `stage_scores`, one number for each stage done so far. It
records them, and returns whether the trial is stopped. `build_rule` chooses the rule and the first stage
at which it may stop a trial; `StageScheduler` connects the rule to Ray Tune.
"""

from __future__ import annotations

import bisect
import math
import statistics
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

from scipy import special

LEAST_OTHERS = 3
"""Scores of other trials that the median rule needs."""
ERROR = 0.05
"""Share of searches in which a race may stop a trial that no other is better than."""
LEAST_WALKED = 3
"""Orderings after which a race first compares a trial: after two, no difference is beyond chance."""
LEAST_DEVIATION = 0.02
"""Least standard deviation of the differences in a race.

Scores of a few hundred questions come in steps, so two equal differences can be chance.
"""


class StoppingRule(Protocol):
    """Decision after each stage whether a trial is stopped."""

    def stops(self, trial: str, stage_scores: Sequence[float]) -> bool:
        """Record the scores, one for each stage done; return True if the trial is to be stopped.

        Called once for each stage of each trial, even where the answer is no longer used.
        """
        ...


class SuccessiveHalving:
    """Asynchronous successive halving (ASHA, Li et al. 2020) whose rungs are stages.

    A trial's rung score is the mean of its stage scores so far. A trial is stopped at a rung if its rung
    score is below the (1 - 1/factor) quantile of the scores recorded there earlier.
    """

    def __init__(self, first_rung: int, stages: int, factor: int) -> None:
        self.percent = (1 - 1 / factor) * 100
        self.rungs: dict[int, list[float]] = {}
        """Rung scores in ascending order, by the stage of the rung."""
        stage = first_rung
        while stage < stages:
            self.rungs[stage] = []
            stage *= factor

    def stops(self, trial: str, stage_scores: Sequence[float]) -> bool:
        rung = self.rungs.get(len(stage_scores))
        if rung is None:
            return False
        score = statistics.fmean(stage_scores)
        stopped = bool(rung) and score < percentile(rung, self.percent)
        insert(rung, score)
        return stopped


class MedianRule:
    """Median rule (Golovin et al. 2017): stop a trial below the median of the others at its stage.

    The paper compares a trial's best score with the means of the others. Here both are the mean of the
    stage scores so far. Scores fall as tasks are forgotten: a trial's best score is usually that of its
    first stage, so hardly any would be stopped by it.
    """

    def __init__(self, first_stage: int) -> None:
        self.first_stage = first_stage
        self.scores_at: dict[int, list[float]] = {}
        """Mean stage scores of all trials in ascending order, by stage."""

    def stops(self, trial: str, stage_scores: Sequence[float]) -> bool:
        others = self.scores_at.setdefault(len(stage_scores), [])
        score = statistics.fmean(stage_scores)
        middle = others[(len(others) - 1) // 2 : len(others) // 2 + 1]
        compared = len(stage_scores) >= self.first_stage and len(others) >= LEAST_OTHERS
        stopped = compared and not score >= statistics.fmean(middle)  # NaN is stopped too
        insert(others, score)
        return stopped


class Racing:
    """Racing over orderings (Maron and Moore 1994): stop a trial that is behind on this panel.

    A trial is compared at the end of each ordering from the third on, but the last. Its final averages on
    the orderings walked so far are paired with the leader's, by Student's t, one-sided. The level is
    `ERROR`, divided by the comparisons and by the trials among which the leader was chosen (Bonferroni).
    Suppose that a trial equals every other on each ordering, but for noise that differs between orderings.
    It is then stopped in at most 5 % of searches.

    Noise that all orderings of a trial share is no part of that. A panel is walked once with one seed, so
    a trial is one draw of it: "behind" is said of this draw, not of its configuration.
    """

    def __init__(self, orderings: Sequence[Sequence[str]]) -> None:
        self.last_stages = last_stages(orderings)
        self.looks = max(0, len(orderings) - LEAST_WALKED)
        """Comparisons of a trial that is walked to its end."""
        self.finals: dict[str, list[float]] = {}
        """Final average on each ordering walked, by trial."""

    def stops(self, trial: str, stage_scores: Sequence[float]) -> bool:
        done = len(stage_scores)
        finals = [stage_scores[stage - 1] for stage in self.last_stages if stage <= done]
        self.finals[trial] = finals
        comparable = LEAST_WALKED <= len(finals) < len(self.last_stages)
        return comparable and done in self.last_stages and self._is_behind(trial)

    def _is_behind(self, trial: str) -> bool:
        finals = self.finals[trial]
        count = len(finals)
        walked = (other[:count] for other in self.finals.values() if len(other) >= count)
        leader = max(filter(_finite, walked), key=statistics.fmean, default=finals)
        differences = [mine - best for mine, best in zip(finals, leader, strict=True)]
        mean = statistics.fmean(differences)
        if not mean < 0:  # it leads itself
            return False
        # All trials so far count, not only those that got as far: these are the better ones.
        error = ERROR / self.looks / (len(self.finals) - 1)
        deviation = max(LEAST_DEVIATION, statistics.stdev(differences))
        return mean + upper_t(error, count - 1) * deviation / math.sqrt(count) < 0


def build_rule(name: str, orderings: Sequence[Sequence[str]], halving: int) -> StoppingRule | None:
    """Return the rule of a plan; None if it stops no trial.

    With several orderings, no trial is stopped before the first one ends; with one ordering, not before
    the second stage. Replay and regularisation do nothing on the first task, and forgetting shows late.
    """
    first = max(2, len(orderings[0]) if len(orderings) > 1 else 2)
    if name == "asha" and halving >= 2:
        return SuccessiveHalving(first, len(stage_numbers(orderings)), halving)
    if name == "median":
        return MedianRule(first)
    return Racing(orderings) if name == "racing" else None


def stage_numbers(orderings: Sequence[Sequence[str]]) -> dict[tuple[str, ...], int]:
    """Return the number of each stage of the panel, from 1, by the tasks trained up to it."""
    prefixes = (tuple(order[:length]) for order in orderings for length in range(1, len(order) + 1))
    return {prefix: stage for stage, prefix in enumerate(dict.fromkeys(prefixes), start=1)}


def last_stages(orderings: Sequence[Sequence[str]]) -> list[int]:
    """Return the number of the panel's stage, from 1, with which each ordering ends."""
    numbers = stage_numbers(orderings)
    return [numbers[tuple(ordering)] for ordering in orderings]


@lru_cache(maxsize=10_000)
def upper_t(error: float, df: int) -> float:
    """Return the value that Student's t exceeds with the probability `error`."""
    return float(special.stdtrit(df, 1 - error))


def _finite(scores: Sequence[float]) -> bool:
    return all(map(math.isfinite, scores))


def percentile(ascending: Sequence[float], percent: float) -> float:
    """Return the percentile of sorted scores that `numpy.percentile` returns, to the last bit."""
    place = percent / 100 * (len(ascending) - 1)
    index, part = int(place), place % 1
    below, above = ascending[index], ascending[min(index + 1, len(ascending) - 1)]
    step = above - below
    return below + step * part if part < 0.5 else above - step * (1 - part)


def insert(ascending: list[float], score: float) -> None:
    """Insert a score into sorted ones, unless it is not finite: ten thousand trials stay fast."""
    if math.isfinite(score):
        bisect.insort(ascending, score)
