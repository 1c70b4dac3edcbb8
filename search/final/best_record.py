"""`best.yaml`: a trial's configuration with everything that training it again needs."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from search.plan.saved_plan import DataFingerprints, Located, SavedEncoder, SavedPlan
from search.results.pareto import choose_best
from search.results.run_folder import read_run_folder
from search.results.tables import build_tables
from spaces import InputError
from spaces.files import write_atomically
from spaces.records import Record
from trainables.panel import Panel
from trainables.trial_record import Matrix, TrialRecord

LIBRARIES = ("torch", "transformers", "peft", "deepspeed", "ray", "optuna")


class BestRecord(Record):
    """Content of `best.yaml`."""

    TITLE = "best configuration"
    SCHEMA = 2
    SEALED = True
    REMEDY = "export it again with search/export.py"

    trial: str
    search: str
    """Name of the search's folder."""
    config: Mapping[str, Mapping[str, Any]]
    """Knobs by part: strategy, training, adapter."""
    metrics: Mapping[str, float | None]
    matrices: tuple[Matrix, ...]
    """Score matrices of the search, which the final training must reproduce."""
    panel: Panel
    seed: int
    workers: int
    """Training ranks."""
    model: Located
    benchmark: Located
    text_encoder: SavedEncoder
    fingerprints: DataFingerprints
    code: str
    """Fingerprint of the code that trained the trial."""
    versions: Mapping[str, str]
    """Versions of the libraries, by name."""


def export_best(folder: Path, trial: str | None, by: str | None, out: Path | None) -> Path:
    """Write the named trial, or the best one, as `best.yaml`; return the file's path."""
    run = read_run_folder(folder)
    name = trial or choose_best(build_tables(run).trials, run.objectives, by)
    record = run.trial(name)
    if record.state != "finished":
        raise InputError(
            f"only a finished trial can be exported, and {name} is {record.state} after "
            f"{record.stages_done} of {record.stages_total} stages"
        )
    best = _best_record(run.plan, record, folder.name)
    path = out or folder / "best.yaml"
    try:
        write_atomically(path, yaml.safe_dump(best.to_values(), sort_keys=False))
    except OSError as error:
        raise InputError(
            f'--out must be a file that can be written, got "{path}": {error.strerror}'
        ) from error
    return path


def read_best_record(path: Path) -> BestRecord:
    """Read `best.yaml`; raises `InputError` unless it is one of this schema."""
    if not path.is_file():
        raise InputError(f'the configuration must be a file that export.py wrote; no "{path}"')
    try:
        values = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f'"{path}" must be YAML: {error}') from error
    return BestRecord.from_values(values, f'"{path}"')


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that a result may depend on."""
    return {name: importlib.metadata.version(name) for name in LIBRARIES}


def _best_record(plan: SavedPlan, trial: TrialRecord, search: str) -> BestRecord:
    return BestRecord(
        trial=trial.name,
        search=search,
        config=trial.config,
        metrics=trial.metrics,
        matrices=trial.matrices,
        panel=plan.panel,
        seed=plan.plan.seed,
        workers=plan.plan.workers_per_trial,
        model=plan.model,
        benchmark=plan.benchmark,
        text_encoder=plan.text_encoder,
        fingerprints=plan.fingerprints,
        code=plan.code[trial.strategy],
        versions=library_versions(),
    )
