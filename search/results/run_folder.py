"""The folder of one search as the search left it: its plan, and one record for each trial."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from search.plan.objectives import Objective, objectives_of
from spaces.errors import InputError, unknown
from tasks import EXTRA_SCORES
from trainables.metrics.glossary import RETRIEVAL
from trainables.metrics.score_matrix import ScoreMatrix

STATES = ("running", "finished", "stopped", "diverged", "failed")


@dataclass(frozen=True)
class TrialRecord:
    """One trial as `trainables.trainable.trial_record` wrote it."""

    name: str
    state: str
    config: Mapping[str, Mapping[str, Any]]
    metrics: Mapping[str, float | None]
    """Means over the orderings that are whole; None where undefined."""
    matrices: tuple[ScoreMatrix, ...]
    stages: tuple[Mapping[str, Any], ...]
    stages_done: int
    stages_total: int
    message: str
    beside: Mapping[str, tuple[ScoreMatrix, ...]]
    """Matrices of what stands beside the scores, by name; none in records of earlier versions."""
    records: tuple[Mapping[str, Any], ...]
    """Where the answers behind each cell are: ordering, stage, task, split, key in the store."""
    before: Mapping[str, Any] = field(default_factory=dict)
    """What was made before any stage, and what it took; empty in records of earlier versions."""
    ahead: tuple[Mapping[str, Any], ...] = ()
    """Stages made before their turn that never came, for the trial was stopped."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrialRecord:
        """Raises `KeyError`, `TypeError` or `ValueError` for what is no record of a trial."""
        record = cls(
            name=str(values["name"]),
            state=values["state"],
            config={part: dict(knobs) for part, knobs in values["config"].items()},
            metrics={name: _number(v) for name, v in (values.get("metrics") or {}).items()},
            matrices=tuple(ScoreMatrix.from_dict(m) for m in values.get("orderings") or ()),
            stages=tuple(dict(stage) for stage in values.get("stages") or ()),
            stages_done=int(values.get("stages_done") or 0),
            stages_total=int(values.get("stages_total") or 0),
            message=str(values.get("message") or ""),
            beside={
                name: tuple(ScoreMatrix.from_dict(m) for m in values.get(name) or ())
                for name in (*EXTRA_SCORES, *RETRIEVAL)
            },
            records=tuple(dict(record) for record in values.get("records") or ()),
            before=dict(values.get("before") or {}),
            ahead=tuple(dict(stage) for stage in values.get("ahead") or ()),
        )
        if record.state not in STATES:
            raise unknown("state", record.state, STATES)
        str(record.config["strategy"]["name"])
        return record

    @property
    def strategy(self) -> str:
        """The strategy's name."""
        return str(self.config["strategy"]["name"])

    def knobs(self) -> dict[str, Any]:
        """Every knob under the name of its part: `replay.ratio`, `training.epochs`."""
        knobs = {}
        for part, values in self.config.items():
            prefix = self.strategy if part == "strategy" else part
            knobs |= {f"{prefix}.{knob}": v for knob, v in values.items() if knob != "name"}
        return knobs


@dataclass(frozen=True)
class RunFolder:
    """A search's folder, read."""

    folder: Path
    plan: Mapping[str, Any]
    objectives: tuple[Objective, ...]
    orderings: tuple[tuple[str, ...], ...]
    trials: tuple[TrialRecord, ...]
    """Sorted by name."""
    skipped: Mapping[str, str]
    """Files that are no whole record, and why; reports name them."""

    @property
    def name(self) -> str:
        """What the search is called."""
        return str(self.plan.get("name") or self.folder.name)

    @property
    def workers_per_trial(self) -> int:
        """Training ranks of each trial."""
        return int((self.plan.get("fields") or {}).get("workers_per_trial") or 1)

    @property
    def precompute_seconds(self) -> float:
        """What it took to look at all images before the lanes started; 0 if each worker looked."""
        try:
            return float(json.loads((self.folder / "looked.json").read_text())["seconds"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0.0

    @property
    def metrics(self) -> dict[str, str]:
        """The metric of each task's answers; empty for a search of an earlier version."""
        found = self.plan.get("metrics")
        return dict(found) if isinstance(found, dict) else {}

    def trial(self, name: str) -> TrialRecord:
        """One trial; raises `InputError` with the nearest name."""
        for record in self.trials:
            if record.name == name:
                return record
        raise unknown("trial", name, [t.name for t in self.trials])


def read_run_folder(folder: Path) -> RunFolder:
    """Read a search's folder; raises `InputError` if it is none."""
    plan = _read_plan(folder)
    trials, skipped = _read_trials(folder / "trials")
    try:
        orderings = tuple(tuple(map(str, o)) for o in plan["panel"]["orderings"])
    except (KeyError, TypeError) as error:
        raise InputError(f"{folder / 'plan.json'} must hold panel.orderings: {error!r}") from error
    return RunFolder(
        folder, plan, objectives_of(plan.get("objectives")), orderings, trials, skipped
    )


def _read_plan(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise InputError(f"a search's folder must exist, got {folder}: give the folder of a search")
    try:
        plan = json.loads((folder / "plan.json").read_text())
    except FileNotFoundError:
        raise InputError(
            f"{folder} is no search's folder: it must hold plan.json; give one that a search wrote"
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{folder / 'plan.json'} cannot be read: {error}") from error
    if not isinstance(plan, dict):
        raise InputError(f"{folder / 'plan.json'} must hold an object, got {type(plan).__name__}")
    return plan


def _read_trials(folder: Path) -> tuple[tuple[TrialRecord, ...], dict[str, str]]:
    trials: list[TrialRecord] = []
    skipped: dict[str, str] = {}
    for file in sorted(folder.glob("*.json")):
        try:
            record = TrialRecord.from_dict(json.loads(file.read_text()))
            if record.name != file.stem:
                raise ValueError(f'it holds the trial "{record.name}"')
            trials.append(record)
        except KeyError as error:
            skipped[file.name] = f"it has no {error}"
        except (OSError, TypeError, ValueError, AttributeError) as error:
            skipped[file.name] = str(error)
    return tuple(trials), skipped


def _number(value: Any) -> float | None:
    return None if value is None or value != value else float(value)


def write_json(path: Path, value: object) -> None:
    """Write a JSON file in one move."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(value, indent=1))
    os.replace(temporary, path)
