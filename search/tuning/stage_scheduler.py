"""Ray Tune's scheduler that stops trials by a `StoppingRule`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from search.tuning.rung_score import CeilingScale, ended_records, stage_scores
from search.tuning.stopping import StoppingRule
from spaces.references import CEILING, FLOOR


class StageScheduler(FIFOScheduler):
    """Scheduler that starts trials in order, and stops one after any stage if the rule says so.

    The plan's own reference runs are never stopped, nor any run of joint tuning. Tuned runs of the floor
    are compared with each other alone: each strategy would beat them, and the best of them is the floor.
    Nothing is compared before joint tuning has given the scale. Stages done before that are then compared
    one by one, each with the scores the trial had at that stage.
    """

    def __init__(
        self,
        rule: StoppingRule,
        run: Path,
        stopped_names: set[str],
        unfinished: Collection[str] = (),
        floor_rule: StoppingRule | None = None,
    ) -> None:
        """Prepare for a search; `unfinished` trials of an earlier session are run again.

        `floor_rule` compares the tuned runs of the floor; None: none of them is stopped.
        Names of stopped trials are added to `stopped_names`, which the searcher reads.
        """
        super().__init__()
        self.rule, self.floor_rule = rule, floor_rule
        self.run, self.stopped_names = run, stopped_names
        self.scale = CeilingScale(run)
        self.recorded: dict[str, int] = {}
        """Number of stages that the rule has recorded, by trial."""
        self._unfinished = frozenset(unfinished)
        self._restored = False

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        name = _name(trial)
        # Stages after the one that stops the trial are not recorded.
        stops = any(self._record(name, scores) for scores in self._new_stages(name, result))
        if name == FLOOR or not stops:
            return TrialScheduler.CONTINUE
        self.stopped_names.add(name)
        return TrialScheduler.STOP

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        name = _name(trial)
        for scores in self._new_stages(name, result):
            self._record(name, scores)  # others are compared with this trial

    def _new_stages(self, name: str, result: Mapping[str, Any]) -> list[list[float]]:
        """Return a trial's stage scores at each stage that its rule has not recorded."""
        seen = result.get("seen")
        # A trial that diverged reports no scores, and ends by itself.
        scale = self.scale.read() if seen and self._rule(name) else None
        if not seen or scale is None:
            return []
        self._restore(scale)
        return self._unrecorded(name, stage_scores(seen, scale))

    def _rule(self, name: str) -> StoppingRule | None:
        """Return the rule that compares a trial with others; None if nothing stops it."""
        reference = name.partition("-")[0]  # runs of a reference are numbered: finetune-2
        if reference == CEILING:
            return None
        return self.floor_rule if reference == FLOOR else self.rule

    def _unrecorded(self, name: str, scores: list[float]) -> list[list[float]]:
        first = self.recorded.get(name, 0) + 1
        return [scores[:stage] for stage in range(first, len(scores) + 1)]

    def _record(self, name: str, scores: list[float]) -> bool:
        """Record a trial's newest stage with its rule; return True if the rule stops the trial there."""
        self.recorded[name] = len(scores)
        rule = self._rule(name)
        return rule is not None and rule.stops(name, scores)

    def _restore(self, scale: Mapping[str, float]) -> None:
        """Record the trials that ended before the scale was known, in this session or an earlier one."""
        if not self._restored:
            self._restored = True
            for record in ended_records(self.run, but=self._unfinished):
                scores = stage_scores(record.seen_scores, scale)
                for so_far in self._unrecorded(record.name, scores):
                    self._record(record.name, so_far)


def _name(trial: Trial) -> str:
    return str((trial.config or {})["name"])
