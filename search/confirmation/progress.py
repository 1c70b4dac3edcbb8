"""Progress of a confirmation: a line at the end of each run."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ray import tune

from search.confirmation.finalists import ConfirmationRecord
from search.confirmation.results import VALIDATION, read_results
from search.results.formatting import format_duration, format_number


class ConfirmationProgress(tune.Callback):
    """Callback of Tune that says which run has ended, and how many the next look still needs."""

    def __init__(self, plan: ConfirmationRecord, run: Path) -> None:
        self.plan, self.run = plan, run
        self.begun, self.done = time.monotonic(), 0

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.done += 1
        if trial.config["split"] != VALIDATION:
            return
        result = trial.last_result or {}
        results = read_results(self.run, self.plan)
        (units, _, _), left = results.contenders(), len(results.wanted())
        each = (time.monotonic() - self.begun) / self.done
        about = f"{left} runs left, about {format_duration(each * left)}" if left else "none left"
        print(
            f"confirmed: {trial.config['name']} {format_number(result.get(self.plan.metric))} · up to "
            f"unit {units}: {about}",
            flush=True,
        )
