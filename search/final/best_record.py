"""`best.yaml`: a trial's configuration with everything that training it again needs."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search.plan.bounds import check_number
from search.plan.saved_plan import (
    CHOOSING_SPLIT,
    DataFingerprints,
    Located,
    SavedEncoder,
    SavedPlan,
)
from search.results.pareto import choose_best
from search.results.run_folder import read_run_folder
from search.results.tables import build_tables
from spaces import InputError, unknown
from spaces.errors import listed
from spaces.files import write_atomically
from spaces.paths import check_path
from spaces.records import Record
from spaces.yaml_files import read_yaml, write_yaml
from trainables.panel import INITIAL_STATES, SCORING, Panel
from trainables.trial_record import Matrix, TrialRecord

LIBRARIES = ("torch", "transformers", "peft", "deepspeed", "ray", "optuna")
MOST_BYTES = 1 << 26
"""Size of a `best.yaml`: its matrices grow with the orderings."""


class BestRecord(Record):
    """Content of `best.yaml`."""

    TITLE = "best configuration"
    SCHEMA = 2
    SEALED = True
    REMEDY = "export it again with search/export.py"
    EXACT = True

    trial: str
    search: str
    """Name of the search's folder."""
    config: Mapping[str, Mapping[str, Any]]
    """Knobs by part: strategy, training, adapter."""
    metrics: Mapping[str, float | None]
    matrices: tuple[Matrix, ...]
    """Score matrices of the search, which the final training must reproduce.

    They are one for each ordering, of its first tasks if the search trained no others.
    """
    panel: Panel
    """The panel of whole orderings."""
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


def export_best(
    folder: Path, trial: str | None, by: str | None, out: Path | None
) -> tuple[Path, str]:
    """Write the named trial, or the best one, as `best.yaml`; return the file's path and the trial."""
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
        write_atomically(path, write_yaml(best.to_values()))
    except OSError as error:
        raise InputError(
            f'--out must be a file that can be written, got "{path}": {error.strerror}'
        ) from error
    return path, name


def read_best_record(path: Path) -> BestRecord:
    """Read `best.yaml`; raises `InputError` unless it is one of this schema."""
    check_path(path, "the configuration")
    if not path.is_file():
        raise InputError(f'the configuration must be a file that export.py wrote; no "{path}"')
    record = BestRecord.from_values(read_yaml(path, MOST_BYTES), f'"{path}"')
    _check_record(record, f'"{path}"')
    return record


def _check_record(record: BestRecord, source: str) -> None:
    """Raise `InputError` if a number is out of bounds, or the matrices are not those of the panel."""
    check_number("seed", record.seed, f"{source}: seed")
    check_number("workers_per_trial", record.workers, f"{source}: workers")
    panel = record.panel
    for name, value, known in (
        ("scoring", panel.scoring, SCORING),
        ("split", panel.split, (CHOOSING_SPLIT,)),
        ("way to learn initial tasks", panel.initial_state, INITIAL_STATES),
    ):
        if value not in known:
            raise InputError(f"{source}: {unknown(name, value, known)}")
    tasks = set(panel.tasks)
    if not tasks or any(set(o) != tasks or len(o) != len(tasks) for o in panel.orderings):
        raise InputError(
            f"{source}: panel.orderings must each hold every task once, and one at least"
        )
    if repeated := tasks & set(panel.initial):
        raise InputError(f"{source}: panel.initial must hold other tasks, got {listed(repeated)}")
    if repeated := {*tasks, *panel.initial} & set(panel.general):
        raise InputError(f"{source}: panel.general must hold other tasks, got {listed(repeated)}")
    begun = [
        ordering[: m.stages] for ordering, m in zip(panel.orderings, record.matrices, strict=False)
    ]
    if [m.tasks for m in record.matrices] != begun or len(begun) < len(panel.orderings):
        raise InputError(
            f"{source}: matrices must be one for each of panel.orderings, of it or of its first tasks"
        )
    for where, name in (("model", record.model), ("benchmark", record.benchmark)):
        check_path(name.path, f"{source}: {where}.path")


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that a result may depend on."""
    return {name: importlib.metadata.version(name) for name in LIBRARIES}


def _best_record(plan: SavedPlan, trial: TrialRecord, search: str) -> BestRecord:
    panel, matrices = plan.whole_panel, {matrix.tasks: matrix for matrix in trial.matrices}
    searched = len(plan.panel.orderings[0])
    return BestRecord(
        trial=trial.name,
        search=search,
        config=trial.config,
        metrics=trial.metrics,
        matrices=tuple(matrices[ordering[:searched]] for ordering in panel.orderings),
        panel=panel,
        seed=plan.plan.seed,
        workers=plan.plan.workers_per_trial,
        model=plan.model,
        benchmark=plan.benchmark,
        text_encoder=plan.text_encoder,
        fingerprints=plan.fingerprints,
        code=plan.code[trial.strategy],
        versions=library_versions(),
    )
