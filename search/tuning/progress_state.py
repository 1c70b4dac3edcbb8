"""State of a running search: its trials so far, the best of them, and the time left."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from search.plan.objectives import Objective
from search.results.pareto import has_all_objectives, is_reference, maximised
from spaces.references import CEILING
from trainables.trial_record import TrialRecord


@dataclass
class TrialProgress:
    """One trial as its latest result describes it."""

    name: str
    strategy: str
    state: str = "running"
    stages_done: int = 0
    trained: Sequence[bool] = ()
    """One flag for each stage done: True if it was trained, False if it came from the store."""
    metrics: Mapping[str, float | None] = field(default_factory=dict)


@dataclass
class ProgressState:
    """Counts over the trials of a search, references included."""

    planned_trials: int
    stages_per_trial: int
    lanes: int
    objectives: Sequence[Objective]
    trials: dict[str, TrialProgress] = field(default_factory=dict)
    trained_seconds: list[float] = field(default_factory=list)
    """Seconds of each stage that was trained."""
    shared_seconds: list[float] = field(default_factory=list)
    """Seconds of each stage that came from the store."""
    joint_trials: int = 1
    """Planned trials of joint tuning, which have one stage each."""

    def restore(self, record: TrialRecord) -> None:
        """Add a trial that ended before the search was resumed."""
        trained = [stage.trained for stage in record.stages]
        self.trials[record.name] = TrialProgress(
            record.name, record.strategy, record.state, record.stages_done, trained, record.metrics
        )

    def update(self, name: str, strategy: str, result: Mapping[str, Any]) -> TrialProgress:
        """Replace a trial's state by its latest result (of `StageTrainable.step`), and return it."""
        metrics = {k: v for k, v in result.items() if isinstance(v, int | float)}
        trial = TrialProgress(
            name,
            strategy,
            str(result.get("state", "running")),
            int(result.get("stages_done", 0)),
            list(result.get("stages", ())),
            metrics,
        )
        self.trials[name] = trial
        in_this_trial = bool(trial.trained) and trial.trained[-1]
        seconds = self.trained_seconds if in_this_trial else self.shared_seconds
        seconds.append(float(result.get("time_this_iter_s", 0.0)))
        return trial

    def end(self, name: str, strategy: str, state: str = "stopped") -> TrialProgress:
        """End a trial, and return it; one that was still running gets `state`."""
        trial = self.trials.setdefault(name, TrialProgress(name, strategy))
        if trial.state == "running":
            trial.state = state
        return trial

    # Counts and estimates ----------------------------------------------------------------------

    def count(self, *states: str) -> int:
        """Count the trials in one of `states`."""
        return sum(trial.state in states for trial in self._snapshot())

    @property
    def planned(self) -> int:
        """Number of trials: those planned, or those begun if there are more."""
        return max(self.planned_trials, len(self.trials))

    @property
    def stages_done(self) -> int:
        """Number of stages of the panel that all trials have done."""
        return sum(min(e.stages_done, self.stages_of(e.strategy)) for e in self._snapshot())

    @property
    def stages_planned(self) -> int:
        """Number of stages if no trial is stopped."""
        joint = self.joint_trials * self.stages_of(CEILING)
        return (self.planned - self.joint_trials) * self.stages_per_trial + joint

    def stages_of(self, strategy: str) -> int:
        """Return the number of stages of one trial: joint tuning has one, whatever the ordering."""
        return 1 if strategy == CEILING else self.stages_per_trial

    @property
    def stages_shared(self) -> int:
        """Number of stages taken from the store."""
        return sum(not trained for trial in self._snapshot() for trained in trial.trained)

    @property
    def stages_skipped(self) -> int:
        """Number of stages after the ends of trials that ended early."""
        ended = [e for e in self._snapshot() if e.state != "running"]
        return sum(max(0, self.stages_of(e.strategy) - e.stages_done) for e in ended)

    @property
    def stages_left(self) -> int:
        """Number of stages still to do, if no further trial is stopped."""
        return max(0, self.stages_planned - self.stages_done - self.stages_skipped)

    def best(self) -> TrialProgress | None:
        """Return the best finished trial in the first objective, references left out."""
        found = [e for e in self._finished() if not is_reference(e.strategy)]
        return self._leader(found, self.objectives)

    def best_reference(self, strategy: str) -> TrialProgress | None:
        """Return the best finished trial of a reference strategy."""
        found = [e for e in self._finished() if e.strategy == strategy]
        return self._leader(found, self.objectives[:1])

    def seconds_left(self) -> float | None:
        """Estimate the seconds that the stages left will take; None before a stage was trained.

        A trained stage counts with the median, because the first one of a lane includes its start.
        """
        if not self.trained_seconds:
            return None
        typical = statistics.median(self.trained_seconds) * len(self.trained_seconds)
        made = len(self.trained_seconds) + len(self.shared_seconds)
        pace = (typical + sum(self.shared_seconds)) / made
        return pace * self.stages_left / max(1, self.lanes)

    def _snapshot(self) -> list[TrialProgress]:
        # A copy: the terminal is drawn by a thread of its own while results come in.
        return list(self.trials.values())

    def _finished(self) -> list[TrialProgress]:
        first = self.objectives[:1]
        done = [e for e in self._snapshot() if e.state == "finished"]
        return [e for e in done if has_all_objectives(e.metrics, first)]

    def _leader(
        self, among: Sequence[TrialProgress], objectives: Sequence[Objective]
    ) -> TrialProgress | None:
        """Return the best of some trials; of equals, the first by name."""

        def rank(trial: TrialProgress) -> tuple[tuple[float, ...], str]:
            return tuple(-value for value in maximised(trial.metrics, objectives)), trial.name

        return min(among, key=rank, default=None)
