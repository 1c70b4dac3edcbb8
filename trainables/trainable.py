"""The Tune trainable: one trial is one configuration over the panel, one step is one stage."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ray import tune

from tasks import EXTRA_SCORES
from trainables.config import TrialConfig
from trainables.lanes.lane import Lane
from trainables.metrics.glossary import RETRIEVAL
from trainables.panel import Panel
from trainables.stage_job import DivergedError, Fingerprints, WorkerSpec
from trainables.store.eviction import pinned
from trainables.store.stage_store import StageStore
from trainables.trial import PanelTrial


@dataclass(frozen=True)
class SearchContext:
    """What all trials of a search share."""

    worker_spec: WorkerSpec
    fingerprints: Fingerprints
    panel: Panel
    run: Path
    """The search's folder; a trial's record is `run/trials/NAME.json`."""


class StageTrainable(tune.Trainable):
    """Walks one configuration through the panel on a warm lane, which outlives the trial."""

    def setup(self, config: dict[str, Any], search: SearchContext | None = None) -> None:
        assert search is not None, "give it with tune.with_parameters"
        self.search = search
        self.lane: Lane | None = None
        self.pins = contextlib.ExitStack()
        self.begin(config)

    def begin(self, config: Mapping[str, Any]) -> None:
        """Take up a configuration: `{"name": ..., "trial": TrialConfig.to_dict()}`."""
        self.pins.close()
        self.name = str(config["name"])
        self.before = trained_before(self.search.run / "trials" / f"{self.name}.json")
        if self.lane is None:
            workers = self.search.fingerprints.workers
            self.lane = Lane(self.search.worker_spec, workers, self.search.run / "lanes")
        self.trial = PanelTrial(
            TrialConfig.from_dict(config["trial"]),
            self.search.panel,
            self.search.fingerprints,
            StageStore(self.search.worker_spec.store),
            self.lane,
        )

    def step(self) -> dict[str, Any]:
        """One stage. A configuration that diverges ends here, with NaN for every metric."""
        diverged = ""
        try:
            if self.trial.completed == 0:
                signed = [key for _, key in self.trial.lineage.embeddings()]
                if signed:  # which tell what else is needed
                    self.pins.enter_context(pinned(self.trial.store, signed))
                    self.trial.embed_tasks()
                self.pins.enter_context(pinned(self.trial.store, self.trial.needs))
            self.trial.step()
        except DivergedError as error:
            diverged = str(error)
        except Exception as error:
            self._write("failed", str(error))
            raise
        state = "diverged" if diverged else "finished" if self.trial.finished else "running"
        metrics = self._write(state, diverged)["metrics"]
        nan = float("nan")
        return {
            **{name: nan if diverged or v is None else v for name, v in metrics.items()},
            "seen": [] if diverged else self.trial.seen(),
            "state": state,
            "stages_done": stages_done(self.trial),
            "stages": [s["trained"] for s in self.trial.stages],
            "done": state != "running",
        }

    def _write(self, state: str, message: str) -> dict[str, Any]:
        record = trial_record(self.name, self.trial, state, message, self.before)
        write_record(self.search.run / "trials", record)
        return record

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Tune hands this actor the next trial: the lane stays."""
        self.begin(new_config)
        return True

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: stages are in the store and the record is written at every step."""

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Nothing: a trial begun again finds its stages in the store."""

    def cleanup(self) -> None:
        self.pins.close()
        if self.lane is not None:
            self.lane.close()


def trained_before(path: Path) -> dict[str, dict[str, Any]]:
    """The stages, by key, that a trial trained before it was interrupted, as its record says."""
    try:
        record = json.loads(path.read_text())
        stages = [*record["stages"], *record.get("ahead", ())]
        return {stage["key"]: stage for stage in stages if stage["trained"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def stages_done(trial: PanelTrial) -> int:
    """Stages of the panel done, on the scale of a sequential strategy; joint tuning jumps to its end."""
    return panel_stages(trial.panel) if trial.finished else trial.completed


def panel_stages(panel: Panel) -> int:
    """Distinct stages of the panel for a strategy that takes one task after the other."""
    return len({o[:i] for o in panel.orderings for i in range(1, len(o) + 1)})


def trial_record(
    name: str,
    trial: PanelTrial,
    state: str,
    message: str = "",
    own: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> dict[str, Any]:
    """Everything known of a trial, JSON-safe: what tables, reports and `best.yaml` are made of.

    `own`: by key, the stages that it trained before it was interrupted: no gifts of the store.
    """
    records = trial.records()
    return {
        "name": name,
        "state": state,
        "message": message,
        "config": trial.config_values,
        "metrics": {k: None if v != v else v for k, v in trial.metrics().items()},
        "orderings": [m.to_dict() for m in trial.matrices()],
        **{name: [m.to_dict() for m in trial.matrices(name)] for name in _beside(trial)},
        "records": records,
        "keys": sorted(trial.needs | {record["key"] for record in records}),
        "before": trial.before,
        "stages": [stage | own.get(stage["key"], {}) for stage in trial.stages],
        "ahead": trial.ahead(),
        "seen": trial.seen(),
        "stages_done": stages_done(trial),
        "stages_total": panel_stages(trial.panel),
        "panel": trial.panel_values,
    }


def _beside(trial: PanelTrial) -> tuple[str, ...]:
    """What stands beside the scores of this trial."""
    return (*EXTRA_SCORES, *(RETRIEVAL if trial.config.strategy.has_experts else ()))


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Replace a trial's record in one move."""
    # Strings, for a `Path` takes longer, and every stage writes a record.
    path, temporary = (
        f"{folder}/{record['name']}.json",
        f"{folder}/.{record['name']}.{os.getpid()}",
    )
    os.makedirs(folder, exist_ok=True)
    with open(temporary, "w") as file:
        # In one line: with indents, a pure-Python encoder takes ten times as long.
        file.write(json.dumps(record))
    os.replace(temporary, path)
