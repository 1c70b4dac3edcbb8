"""ASHA over stages: weak trials die early, compared at the same stage of the same panel."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler


class StageHalving(AsyncHyperBandScheduler):
    """Stock ASHA whose rungs are stages, whose reference trials always finish, and which remembers.

    No rung before the end of the first ordering (the second stage where there is but one): replay
    and regularisation do nothing on the first task, and forgetting shows late.
    """

    def __init__(
        self,
        first_rung: int,
        stages: int,
        factor: int,
        references: Collection[str],
        halted: set[str],
    ) -> None:
        super().__init__(
            time_attr="stages_done",
            metric="progress",
            mode="max",
            grace_period=min(first_rung, stages),
            max_t=stages,
            reduction_factor=factor,
        )
        self.references = frozenset(references)
        self.halted = halted

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        if self._exempt(trial, result):
            return TrialScheduler.CONTINUE
        decision = super().on_trial_result(tune_controller, trial, result)
        if decision == TrialScheduler.STOP:
            self.halted.add(trial.config["name"])
        return decision

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        if not self._exempt(trial, result):
            super().on_trial_complete(tune_controller, trial, result)

    def _exempt(self, trial: Trial, result: dict[str, Any]) -> bool:
        progress = result.get("progress")
        return trial.config["name"] in self.references or progress is None or progress != progress

    def remember(self, run: Path, begun: Collection[str]) -> None:
        """Fill the rungs with what an interrupted search had reached, but for the trials run again.

        The rungs are ASHA's own, which it has no call to fill; a test holds that they are there.
        """
        for path in sorted((run / "trials").glob("[0-9]*.json")):
            record = json.loads(path.read_text())
            if path.stem in begun:  # killed between its record and the journal: it reports again
                continue
            if record.get("state") in ("finished", "stopped"):
                for milestone, recorded in self._brackets[0]._rungs:
                    if len(record.get("rungs", ())) >= milestone:
                        recorded[record["name"]] = record["rungs"][milestone - 1]
