"""Weak trials die early, compared at the same stage of the same panel: three rules to choose from.

No rule stops a reference trial, nor anything before the end of the first ordering (the second stage where
there is but one): replay and regularisation do nothing on the first task, and forgetting shows late.
"""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import (
    AsyncHyperBandScheduler,
    FIFOScheduler,
    MedianStoppingRule,
    TrialScheduler,
)

from search.results.statistics import t_quantile
from search.tuning.ranked import Field, Ranked
from search.tuning.rung_score import Scale, ends, mean_score, records_of, rung_score

STAGES, SCORE = "stages_done", "rung_score"
BELIEF = 0.90
"""Of the two-sided interval of a race: 95 % on the side that counts."""
CHANCE = 0.02
"""By how much the difference of two final averages, of some hundred questions, may be off by chance. Scores
come in steps, and two differences that happen to be equal are no certainty."""


class OverStages(TrialScheduler):
    """What the rules have in common, put before a stock scheduler."""

    references: frozenset[str]
    stopped_names: set[str]
    """Names of the trials that were stopped, shared with the searcher."""
    scale: Scale

    @property
    def metric(self) -> None:
        """Nothing that a result must bring: the rung score is made of it here."""

    def over(self, run: Path, references: Collection[str], stopped_names: set[str]) -> None:
        """Say whose trials these are, before the first of them."""
        self.references, self.stopped_names, self.scale = (
            frozenset(references),
            stopped_names,
            Scale(run),
        )
        self._told: dict[str, int] = {}
        self._begun: Collection[str] | None = None

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        for scored in self._untold(trial, result):
            decision = super().on_trial_result(tune_controller, trial, scored)
            if decision == TrialScheduler.STOP:
                self.stopped_names.add(trial.config["name"])
                return decision
        return TrialScheduler.CONTINUE

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        scale = self._ready(trial, result)
        if scale is not None:
            last = {**result, SCORE: rung_score(result["seen"], scale)}
            super().on_trial_complete(tune_controller, trial, last)

    def _untold(self, trial: Trial, result: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Results with rung scores of the stages that the rule has not heard of.

        Several where joint tuning, which gives the scale, has only now come to its end: at each rung
        trials are compared by what they were there, not by what they have become since.
        """
        scale, name = self._ready(trial, result), trial.config["name"]
        if scale is None:
            return
        seen = result["seen"]
        for stage in range(self._told.get(name, 0) + 1, len(seen) + 1):
            self._told[name] = stage
            yield {**result, STAGES: stage, SCORE: rung_score(seen[:stage], scale)}

    def _ready(self, trial: Trial, result: Mapping[str, Any]) -> Mapping[str, float] | None:
        """The scale, if this result is one to be compared and joint tuning is over."""
        if trial.config["name"] in self.references or not result.get("seen"):
            return None
        self._catch_up()
        return self.scale.known()

    def remember(self, run: Path, unfinished: Collection[str]) -> None:
        """Take up what an interrupted search had reached, but for the trials `unfinished` that run again."""
        self._begun = unfinished
        self._catch_up()

    def _catch_up(self) -> None:
        """Recall earlier trials as soon as there is a scale."""
        scale = self.scale.known()
        if scale is None or self._begun is None:
            return
        for name, record in records_of(self.scale.run, self._begun).items():
            seen = record["seen"]
            scores = [rung_score(seen[: i + 1], scale) for i in range(len(seen))]
            self.recall(name, seen, scores)
        self._begun = None

    def recall(self, name: str, seen: Sequence[Mapping[str, float]], scores: list[float]) -> None:
        """Take up a trial of which `scores` are the rung scores after each stage."""
        raise NotImplementedError


class StageHalving(OverStages, AsyncHyperBandScheduler):
    """Stock ASHA (Li et al. 2020) whose rungs are stages."""

    def __init__(self, first_rung: int, stages: int, factor: int) -> None:
        super().__init__(
            time_attr=STAGES,
            metric=SCORE,
            mode="max",
            grace_period=min(first_rung, stages),
            max_t=stages,
            reduction_factor=factor,
        )
        # The rungs are ASHA's own; a test holds that they are there, and that it decides as stock does.
        brackets: list[Any] = self._brackets
        for bracket in brackets:
            bracket._rungs = [(milestone, Ranked()) for milestone, _ in bracket._rungs]
            bracket.cutoff = functools.partial(Ranked.percentile, percent=(1 - 1 / factor) * 100)

    def recall(self, name: str, seen: Sequence[Mapping[str, float]], scores: list[float]) -> None:
        for milestone, recorded in self._brackets[0]._rungs:
            if len(scores) >= milestone:
                recorded[name] = scores[int(milestone) - 1]


class _Fields(MedianStoppingRule):
    """The stock rule, which is told of a few other trials with the median of all."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._fields: dict[float, Field] = {}
        self._deciding: Any = None

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        self._deciding = trial
        self.note(trial, result[STAGES], result[SCORE])
        return super().on_trial_result(tune_controller, trial, result)

    def note(self, trial: Any, stage: int, score: float) -> None:
        """A trial's score after a stage."""
        self._fields.setdefault(stage, Field()).add(trial, score)

    def _trials_beyond_time(self, time: float) -> list[Any]:
        return [self._deciding, *self._fields[time].middle(but=self._deciding)]


class StageMedian(OverStages, _Fields):
    """Stock median rule (Golovin et al. 2017): below the median of the others at the same stage."""

    def __init__(self, first_rung: int) -> None:
        super().__init__(
            time_attr=STAGES,
            metric=SCORE,
            mode="max",
            grace_period=first_rung,
            min_time_slice=math.inf,  # type: ignore[arg-type]  # trials are never paused
        )

    # Stock, a trial's best score of all is held against means over the others' stages: where scores
    # fall as tasks are forgotten, its first stage would save every trial.

    def _best_result(self, trial: Any) -> float:
        return self._results[trial][-1][SCORE]

    def _running_mean(self, trial: Any, time: float) -> Any:
        reached = [r[SCORE] for r in self._results[trial] if r[STAGES] <= time]
        return reached[-1] if reached else math.nan

    def recall(self, name: str, seen: Sequence[Mapping[str, float]], scores: list[float]) -> None:
        told: Any = self._results  # keyed by trials, of which only the identity matters
        told[name] = [{STAGES: i, SCORE: score} for i, score in enumerate(scores, start=1)]
        for stage, score in enumerate(scores, start=1):
            self.note(name, stage, score)


class Racing(OverStages, FIFOScheduler):
    """Racing over orderings (Maron and Moore 1994): who is surely behind the leader drops out.

    After each ordering, the final averages over the orderings walked so far are compared pairwise with
    the leader's on the same ones; a trial drops out if the upper bound of the mean difference, by
    Student's t, is below 0. Its standard deviation is taken to be `CHANCE` at least.
    """

    def __init__(self, orderings: Sequence[Sequence[str]]) -> None:
        super().__init__()
        self.orderings = orderings
        self.reached: dict[str, list[float]] = {}
        """Final average on each ordering walked, by trial."""

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        before = len(self.reached.get(trial.config["name"], ()))
        decision = super().on_trial_result(tune_controller, trial, result)
        if self._ready(trial, result) is None or decision != TrialScheduler.CONTINUE:
            return decision
        name = trial.config["name"]
        self._note(name, result["seen"])
        walked = len(self.reached[name])
        if max(1, before) < walked < len(self.orderings) and self._lost(name):
            self.stopped_names.add(name)
            return TrialScheduler.STOP
        return TrialScheduler.CONTINUE

    def _note(self, name: str, seen: Sequence[Mapping[str, float]]) -> None:
        scale = self.scale.known() or {}
        self.reached[name] = [mean_score(row, scale) for row in ends(self.orderings, seen)]

    def _lost(self, name: str) -> bool:
        count = len(self.reached[name])
        known = {n: v[:count] for n, v in self.reached.items() if len(v) >= count}
        leader = max(known, key=lambda n: statistics.fmean(known[n]))
        if name == leader:
            return False
        behind = [own - best for own, best in zip(known[name], known[leader], strict=True)]
        spread = max(CHANCE, statistics.stdev(behind))
        bound = t_quantile(BELIEF, count - 1) * spread / math.sqrt(count)
        return statistics.fmean(behind) + bound < 0

    def recall(self, name: str, seen: Sequence[Mapping[str, float]], scores: list[float]) -> None:
        self._note(name, seen)
