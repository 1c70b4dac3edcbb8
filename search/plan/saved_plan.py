"""The plan of a search as `plan.json` in the search's folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, field_validator

from search.plan.fingerprint import search_code, trial_code
from search.plan.protocol import protocol_name
from search.plan.resolved_plan import ResolvedPlan
from search.plan.search_plan import SearchPlan
from spaces.errors import InputError
from spaces.files import write_atomically
from spaces.records import Record
from trainables.panel import Panel

PLAN_FILE = "plan.json"
CHOOSING_SPLIT = "validation"
"""Split by which trials are proposed, stopped, chosen and exported."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Located(_Part):
    """A model or benchmark: its name, and its path on the machine of the search."""

    name: str
    path: str


class DataFingerprints(_Part):
    """Fingerprints of the model's folder and of each task."""

    model: str
    tasks: dict[str, str]


class SavedEncoder(_Part):
    """The sentence encoder's folder and fingerprint; both empty for the model's own embeddings."""

    path: str = ""
    fingerprint: str = ""


class SavedPlan(Record):
    """A search as it was begun: enough to resume it, to report it, and to train its best again."""

    SCHEMA: ClassVar[int] = 2
    SEALED: ClassVar[bool] = True
    REMEDY: ClassVar[str] = "search again"
    TITLE: ClassVar[str] = "search's plan"
    EXACT: ClassVar[bool] = True

    name: str
    """The search's name: that of its folder."""
    plan: SearchPlan
    """The plan as resolved: strategies, model and benchmark by their full names."""
    objectives: tuple[tuple[str, Literal["max", "min"]], ...]
    panel: Panel
    """The panel that chooses, by its validation split alone."""
    protocol: str = "orderings held out"
    """Name of the selection protocol."""
    whole_orderings: tuple[tuple[str, ...], ...] = ()
    """Whole orderings, if those of the panel are their first tasks; empty if the panel's are whole."""
    model: Located
    benchmark: Located
    text_encoder: SavedEncoder = SavedEncoder()
    fingerprints: DataFingerprints
    code: dict[str, str]
    """Fingerprints of the code that trains each strategy, by name."""
    search_code: str
    """Fingerprint of the code that proposes and stops trials."""
    metrics: dict[str, str]
    """The metric of each task's answers."""
    stages_configured: int = 0
    stages_distinct: int = 0
    started: str = ""
    """ISO time at which the search was begun."""
    seconds: float = 0.0
    """Wall time of all its sessions."""
    precompute_seconds: float = 0.0
    """Actor seconds spent on vision features in advance; 0 if each worker computed its own."""

    @field_validator("panel")
    @classmethod
    def _chooses_by_validation(cls, panel: Panel) -> Panel:
        """Raise `ValueError` for a panel of another split: the test split chooses nothing."""
        if panel.split != CHOOSING_SPLIT:
            raise ValueError(f"a search chooses by the {CHOOSING_SPLIT} split, got {panel.split}")
        return panel

    @property
    def whole_panel(self) -> Panel:
        """The panel with whole orderings, which a final training walks."""
        return dataclasses.replace(
            self.panel, orderings=self.whole_orderings or self.panel.orderings
        )

    @property
    def confirmed_tasks(self) -> tuple[str, ...]:
        """The tasks of each unit of a confirmation: those held out, or else those of the search."""
        return self.plan.held_out_tasks or self.whole_panel.tasks

    @property
    def used_orderings(self) -> tuple[tuple[str, ...], ...]:
        """The orderings of those tasks, or their beginnings, that the search trained."""
        return () if self.plan.held_out_tasks else self.panel.orderings


def record_plan(resolved: ResolvedPlan) -> SavedPlan:
    """Return the record of a resolved plan; its counts, start and seconds are still empty."""
    plan, prints, benchmark = resolved.plan, resolved.fingerprints, resolved.benchmark
    whole = resolved.whole_panel.orderings
    encoder = resolved.worker_spec.text_encoder
    return SavedPlan(
        name=resolved.run.name,
        plan=plan,
        objectives=tuple(plan.directions()),  # type: ignore[arg-type]  # directions are checked
        panel=resolved.panel,
        protocol=protocol_name(plan, len(whole[0])),
        whole_orderings=() if plan.search_stages is None else whole,
        model=Located(name=plan.model, path=str(resolved.model_folder)),
        benchmark=Located(name=plan.benchmark, path=str(benchmark.file)),
        text_encoder=SavedEncoder(path=encoder, fingerprint=prints.text_encoder),
        fingerprints=DataFingerprints(model=prints.model, tasks=dict(prints.tasks)),
        code=trial_code(plan.strategies),
        search_code=search_code(),
        metrics={task: benchmark.task(task).metric for task in resolved.tasks},
    )


def read_saved_plan(folder: Path) -> SavedPlan:
    """Read the plan of a search's folder; raises `InputError` if it holds none."""
    path = folder / PLAN_FILE
    if not folder.is_dir():
        raise InputError(f"a search's folder must exist, got {folder}: give the folder of a search")
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputError(
            f"{folder} must be the folder of a search, with its {PLAN_FILE}, and has none"
        ) from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    return SavedPlan.from_json(content, str(path))


def write_saved_plan(folder: Path, plan: SavedPlan) -> None:
    """Replace the plan of a search's folder."""
    write_atomically(folder / PLAN_FILE, plan.to_json())
