"""Ray Tune's scheduler that stops trials by a `StoppingRule`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from search.tuning.rung_score import CeilingScale, ended_records, stage_scores
from search.tuning.stopping import StoppingRule


class StageScheduler(FIFOScheduler):
    """Scheduler that starts trials in order, and stops one after any stage if the rule says so.

    References are never stopped. Nothing is compared before joint tuning has given the scale. The stages
    done by then are compared one by one: at a rung, a trial counts with its scores there.
    """

    def __init__(
        self,
        rule: StoppingRule,
        run: Path,
        references: Collection[str],
        stopped_names: set[str],
        unfinished: Collection[str] = (),
    ) -> None:
        """Prepare for a search; `unfinished` trials of an earlier session are run again.

        Names of stopped trials are added to `stopped_names`, which the searcher reads.
        """
        super().__init__()
        self.rule, self.run = rule, run
        self.references, self.stopped_names = frozenset(references), stopped_names
        self.scale = CeilingScale(run)
        self.recorded: dict[str, int] = {}
        """Number of stages that the rule has recorded, by trial."""
        self._unfinished = frozenset(unfinished)
        self._restored = False

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        if not any(self._decisions(trial, result)):
            return TrialScheduler.CONTINUE
        self.stopped_names.add(_name(trial))
        return TrialScheduler.STOP

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        list(self._decisions(trial, result))  # recorded: others are compared with this trial

    def _decisions(self, trial: Trial, result: Mapping[str, Any]) -> Iterator[bool]:
        """Yield for each stage that the rule has not recorded whether it stops the trial there."""
        name, seen = _name(trial), result.get("seen")
        # A trial that diverged reports no scores, and ends by itself.
        scale = self.scale.read() if seen and name not in self.references else None
        if seen and scale is not None:
            self._restore(scale)
            yield from self._record(name, stage_scores(seen, scale))

    def _record(self, name: str, scores: list[float]) -> Iterator[bool]:
        for stage in range(self.recorded.get(name, 0) + 1, len(scores) + 1):
            self.recorded[name] = stage
            yield self.rule.stops(name, scores[:stage])

    def _restore(self, scale: Mapping[str, float]) -> None:
        """Record the trials that ended before the scale was known, in this session or an earlier one."""
        if not self._restored:
            self._restored = True
            for record in ended_records(self.run, but=self._unfinished):
                list(self._record(record.name, stage_scores(record.seen_scores, scale)))


def _name(trial: Trial) -> str:
    return str((trial.config or {})["name"])
