"""A `best.yaml` resolved on this machine: its model and data found and compared with the search's."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from models.folder.weights import check_weights
from models.location import model_fingerprint, model_folder
from models.text_encoder import check_text_encoder, text_encoder_fingerprint
from search.final.best_record import BestRecord, library_versions, read_best_record
from search.plan.saved_plan import Located
from spaces import InputError
from tasks import Benchmark, load_benchmark
from trainables.config import TrialConfig
from trainables.metrics.score_matrix import ScoreMatrix
from trainables.panel import Panel
from trainables.stage_job import Fingerprints
from trainables.store.stage_keys import strategy_code


@dataclass(frozen=True)
class BestConfig:
    """A configuration to train again, with its model, data and scores in the search."""

    config: TrialConfig
    panel: Panel
    seed: int
    workers: int
    model: Path
    benchmark: Benchmark
    fingerprints: Fingerprints
    matrices: tuple[ScoreMatrix, ...]
    """Score matrices of the search; empty if the model, data or orderings are others."""
    text_encoder: str
    """Folder of the sentence encoder; empty = the language model's token embeddings."""
    code: str
    """Fingerprint of the code that trained the trial in the search."""
    versions: Mapping[str, str]
    """Library versions of the search."""

    def with_orderings(self, orderings: tuple[tuple[str, ...], ...]) -> BestConfig:
        """Return the configuration on other orderings, without matrices to compare with."""
        panel = dataclasses.replace(self.panel, orderings=orderings)
        return dataclasses.replace(self, panel=panel, matrices=())

    def has_same_code(self) -> bool:
        """Return whether code and libraries are those of the search."""
        code = strategy_code(self.config.strategy.name)
        return (self.code, self.versions) == (code, library_versions())


def read_best(
    path: Path,
    model: str | None = None,
    benchmark: str | None = None,
    text_encoder: str | None = None,
) -> BestConfig:
    """Read `best.yaml` and find its model and data, or those given instead; raises `InputError`."""
    record = read_best_record(path)
    panel = record.panel
    folder = model_folder(model or _path_or_name(record.model))
    check_weights(folder)
    data = load_benchmark(benchmark or _path_or_name(record.benchmark))
    encoder = text_encoder or record.text_encoder.path
    if encoder:  # absolute: lanes and other nodes have another working directory
        encoder = str(Path(encoder).expanduser().resolve())
        check_text_encoder(Path(encoder))
    fingerprints = Fingerprints(
        model=model_fingerprint(folder),
        tasks={t: data.task(t).fingerprint() for t in panel.all_tasks},
        seed=record.seed,
        workers=record.workers,
        text_encoder=text_encoder_fingerprint(encoder),
    )
    _check_unchanged(record, fingerprints, folder, encoder, bool(model), bool(benchmark))
    return BestConfig(
        config=TrialConfig.from_dict(record.config),
        panel=panel,
        seed=record.seed,
        workers=record.workers,
        model=folder,
        benchmark=data,
        fingerprints=fingerprints,
        text_encoder=encoder,
        matrices=() if model or benchmark else record.matrices,
        code=record.code,
        versions=record.versions,
    )


def _path_or_name(located: Located) -> str:
    """Return the path of the search if it exists here, else the name (in another checkout)."""
    return located.path if Path(located.path).exists() else located.name


def _check_unchanged(
    record: BestRecord,
    fingerprints: Fingerprints,
    folder: Path,
    encoder: str,
    model_given: bool,
    benchmark_given: bool,
) -> None:
    """Raise `InputError` if model, text encoder or data differ from the search's unasked."""
    if not model_given and fingerprints.model != record.fingerprints.model:
        raise InputError(
            f'the model in "{folder}" differs from the one of the search; --model NAME accepts it'
        )
    if fingerprints.text_encoder != record.text_encoder.fingerprint:
        raise InputError(
            f'the text encoder in "{encoder}" must be the one of the search, and is another'
        )
    saved = record.fingerprints.tasks
    changed = [t for t, value in fingerprints.tasks.items() if value != saved.get(t)]
    if not benchmark_given and changed:
        raise InputError(
            f"the data of {', '.join(changed)} differs from that of the search; --benchmark NAME accepts it"
        )
