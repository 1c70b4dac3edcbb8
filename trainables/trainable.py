"""The Tune trainable: one trial is one configuration over the panel, one step is one stage."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import tune

from spaces.errors import InputError
from trainables.config import TrialConfig
from trainables.lanes.lane import Lane
from trainables.panel import Panel
from trainables.stage_job import DivergedError, Fingerprints, WorkerSpec
from trainables.store.eviction import pinned
from trainables.store.stage_store import StageStore
from trainables.trial import PanelTrial
from trainables.trial_record import StageCost, State, TrialRecord, trial_path
from trainables.unit import Unit


@dataclass(frozen=True)
class SearchContext:
    """The objects that all trials of a search share."""

    worker_spec: WorkerSpec
    fingerprints: Fingerprints
    panel: Panel
    run: Path
    """The search's folder; a trial's record is `run/trials/NAME.json`."""


class StageTrainable(tune.Trainable):
    """One configuration on its way through the panel, on a warm lane that outlives the trial."""

    def setup(self, config: dict[str, Any], search: SearchContext | None = None) -> None:
        assert search is not None, "give it with tune.with_parameters"
        self.search = search
        search.worker_spec.guard_storage()
        self.lane: Lane | None = None
        self.pins = contextlib.ExitStack()
        self.begin(config)

    def begin(self, config: Mapping[str, Any]) -> None:
        """Take up a configuration: `{"name": ..., "trial": TrialConfig.to_dict()}`.

        A confirmation adds `unit`, which is `Unit.to_dict()`, and `split`.
        """
        self.pins.close()
        self.name = str(config["name"])
        self.trained_earlier = trained_earlier(self.search.run, self.name)
        # A lane whose rank died goes with its actor: Tune keeps no actor that raised.
        if self.lane is None:
            workers = self.search.fingerprints.workers
            self.lane = Lane(self.search.worker_spec, workers, self.search.run / "lanes")
        panel, fingerprints = self.search.panel, self.search.fingerprints
        self.again = "search/confirm.py" if "unit" in config else "--resume"
        if "unit" in config:
            unit = Unit.from_dict(config["unit"])
            panel = unit.panel(panel, config["split"])
            fingerprints = unit.fingerprints(fingerprints)
        self.trial = PanelTrial(
            TrialConfig.from_dict(config["trial"]),
            panel,
            fingerprints,
            StageStore(self.search.worker_spec.store),
            self.lane,
        )

    def step(self) -> dict[str, Any]:
        """Make one stage; a configuration that diverges ends with NaN for every metric."""
        diverged = ""
        try:
            if self.trial.completed == 0:
                embeddings = [key for _, key in self.trial.lineage.embeddings()]
                if embeddings:  # all other keys depend on them
                    self.pins.enter_context(pinned(self.trial.store, embeddings))
                    self.trial.embed_tasks()
                self.pins.enter_context(pinned(self.trial.store, self.trial.store_keys))
            self.trial.step()
        except DivergedError as error:
            diverged = str(error)
        except Exception as error:
            with contextlib.suppress(OSError):  # a full disk must not hide the error
                self._write("failed", f"{error}; {self.again} tries it again")
            raise
        state = "diverged" if diverged else "finished" if self.trial.finished else "running"
        record = self._write(state, diverged)
        nan = float("nan")
        return {
            **{name: nan if diverged or v is None else v for name, v in record.metrics.items()},
            "seen": [] if diverged else list(record.seen_scores),
            "state": state,
            "stages_done": record.stages_done,
            "stages": [stage.trained for stage in self.trial.stages],
            "done": state != "running",
        }

    def _write(self, state: State, message: str) -> TrialRecord:
        record = self.trial.record(self.name, state, message, self.trained_earlier)
        record.write(self.search.run)
        return record

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take up the next trial that Tune hands to this actor; the lane stays."""
        self.begin(new_config)
        return True

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Save nothing: stages are in the store and the record is written at every step."""

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Load nothing: a trial begun again finds its stages in the store."""

    def cleanup(self) -> None:
        self.pins.close()
        if self.lane is not None:
            self.lane.close()


def trained_earlier(run: Path, name: str) -> dict[str, StageCost]:
    """Return the stages, by key, that a trial trained itself before it was interrupted."""
    try:
        return TrialRecord.read(trial_path(run, name)).stages_trained()
    except InputError:
        return {}
