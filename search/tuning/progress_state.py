"""What is known of a running search: its trials so far, the best one, the time that is left."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from search.plan.objectives import Objective
from search.results.pareto import has_all_objectives, is_reference, maximised
from trainables.trial_record import TrialRecord
from spaces.references import CEILING


@dataclass
class Entry:
    """One trial as its latest result describes it."""

    name: str
    strategy: str
    state: str = "running"
    stages_done: int = 0
    trained: Sequence[bool] = ()
    """For each stage made: whether it was trained, rather than taken from the store."""
    metrics: Mapping[str, float | None] = field(default_factory=dict)


@dataclass
class ProgressState:
    """Counts over the trials of a search of which `trials` are planned."""

    trials: int
    stages_per_trial: int
    lanes: int
    objectives: Sequence[Objective]
    entries: dict[str, Entry] = field(default_factory=dict)
    trained_seconds: list[float] = field(default_factory=list)
    shared_seconds: list[float] = field(default_factory=list)

    def remember(self, trial: TrialRecord) -> None:
        """A trial that ended before the search was resumed."""
        trained = [bool(stage.get("trained")) for stage in trial.stages]
        self.entries[trial.name] = Entry(
            trial.name, trial.strategy, trial.state, trial.stages_done, trained, trial.metrics
        )

    def take(self, name: str, strategy: str, result: Mapping[str, Any]) -> Entry:
        """A result of `Sequence.step`."""
        metrics = {k: v for k, v in result.items() if isinstance(v, int | float)}
        entry = Entry(
            name,
            strategy,
            str(result.get("state", "running")),
            int(result.get("stages_done", 0)),
            list(result.get("stages", ())),
            metrics,
        )
        self.entries[name] = entry
        spent = self.trained_seconds if entry.trained and entry.trained[-1] else self.shared_seconds
        spent.append(float(result.get("time_this_iter_s", 0.0)))
        return entry

    def end(self, name: str, strategy: str, state: str = "stopped") -> Entry:
        """A trial is over: one that was still on its way becomes `state`."""
        entry = self.entries.setdefault(name, Entry(name, strategy))
        if entry.state == "running":
            entry.state = state
        return entry

    # What is shown -----------------------------------------------------------------------------

    def count(self, *states: str) -> int:
        """Trials in one of `states`."""
        return sum(entry.state in states for entry in self._all())

    @property
    def planned(self) -> int:
        """Trials planned; more than that if more came."""
        return max(self.trials, len(self.entries))

    @property
    def stages_done(self) -> int:
        """Stages of the panel done by all trials."""
        return sum(min(e.stages_done, self.stages_of(e.strategy)) for e in self._all())

    @property
    def stages_planned(self) -> int:
        """Stages of all trials planned, of which joint tuning is one, if none is stopped."""
        return (self.planned - 1) * self.stages_per_trial + self.stages_of(CEILING)

    def stages_of(self, strategy: str) -> int:
        """Stages of one trial: joint tuning has one on whatever ordering."""
        return 1 if strategy == CEILING else self.stages_per_trial

    @property
    def stages_shared(self) -> int:
        """Stages taken from the store."""
        return sum(not trained for entry in self._all() for trained in entry.trained)

    @property
    def stages_spared(self) -> int:
        """Stages that trials which ended early need no more."""
        ended = [e for e in self._all() if e.state != "running"]
        return sum(max(0, self.stages_of(e.strategy) - e.stages_done) for e in ended)

    @property
    def stages_left(self) -> int:
        """Stages still to be made or found, if no further trial is stopped."""
        return max(0, self.stages_planned - self.stages_done - self.stages_spared)

    def best(self) -> Entry | None:
        """The best finished trial that is an answer, in the first objective."""
        found = [e for e in self._finished() if not is_reference(e.strategy)]
        return self._leader(found, self.objectives)

    def bound(self, strategy: str) -> Entry | None:
        """The best finished trial of a reference strategy."""
        found = [e for e in self._finished() if e.strategy == strategy]
        return self._leader(found, self.objectives[:1])

    def seconds_left(self) -> float | None:
        """Time that the stages left will take at the pace so far; None before a stage was trained.

        The median of the trained stages, for the first one of a lane includes the lane's start.
        """
        if not self.trained_seconds:
            return None
        typical = statistics.median(self.trained_seconds) * len(self.trained_seconds)
        made = len(self.trained_seconds) + len(self.shared_seconds)
        pace = (typical + sum(self.shared_seconds)) / made
        return pace * self.stages_left / max(1, self.lanes)

    def _all(self) -> list[Entry]:
        # A copy: the terminal is drawn by a thread of its own while results come in.
        return list(self.entries.values())

    def _finished(self) -> list[Entry]:
        first = self.objectives[:1]
        done = [e for e in self._all() if e.state == "finished"]
        return [e for e in done if has_all_objectives(e.metrics, first)]

    def _leader(self, among: Sequence[Entry], objectives: Sequence[Objective]) -> Entry | None:
        """The best of some; of equals, the first by name."""

        def rank(entry: Entry) -> tuple[tuple[float, ...], str]:
            return tuple(-value for value in maximised(entry.metrics, objectives)), entry.name

        return min(among, key=rank, default=None)
