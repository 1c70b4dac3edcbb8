"""`best.yaml`: one trial with all that is needed to train it again, and back."""

from __future__ import annotations

import dataclasses
import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from models.location import model_fingerprint, model_folder
from models.text_encoder import check_text_encoder, text_encoder_fingerprint
from search.results.pareto import choose_best
from search.results.run_folder import TrialRecord, read_run_folder
from search.results.tables import build_tables
from spaces import InputError, unknown
from tasks import Benchmark, load_benchmark
from trainables.config import TrialConfig
from trainables.metrics.score_matrix import ScoreMatrix
from trainables.panel import INITIAL_STATES, Panel
from trainables.stage_job import Fingerprints
from trainables.store.code_fingerprint import strategy_code

LIBRARIES = ("torch", "transformers", "peft", "deepspeed", "ray", "optuna")
KEYS = (
    *("trial", "search", "config", "metrics", "matrices", "panel", "seed", "workers"),
    *("model", "benchmark", "text_encoder", "fingerprints", "code", "versions"),
)


@dataclass(frozen=True)
class BestConfig:
    """What `best.yaml` says: a configuration, where it was found, and what it reached."""

    config: TrialConfig
    panel: Panel
    seed: int
    workers: int
    model: Path
    benchmark: Benchmark
    fingerprints: Fingerprints
    matrices: tuple[ScoreMatrix, ...]
    text_encoder: str
    """The folder of the sentence encoder; empty = the language model's own embeddings."""
    code_versions: Mapping[str, Any]
    """Code and library versions of the search."""


def export_best(run: Path, trial: str | None, by: str | None, out: Path | None) -> Path:
    """Write the best trial, or the one named, as `best.yaml`; returns its path."""
    found = read_run_folder(run)
    name = trial or choose_best(build_tables(found).trials, found.objectives, by)
    record = found.trial(name)
    if record.state != "finished":
        raise InputError(
            f"only a finished trial can be exported, and {name} is {record.state} after "
            f"{record.stages_done} of {record.stages_total} stages"
        )
    try:
        content = yaml.safe_dump(_content(found.plan, record, run), sort_keys=False)
    except (KeyError, TypeError) as error:
        raise InputError(f"{run / 'plan.json'} must be as a search wrote it: {error!r}") from error
    path = out or run / "best.yaml"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    except OSError as error:
        raise InputError(
            f'--out must be a file that can be written, got "{path}": {error.strerror}'
        ) from error
    return path


def _content(plan: Mapping[str, Any], record: TrialRecord, run: Path) -> dict[str, Any]:
    return {
        "trial": record.name,
        "search": run.name,
        "config": _plain(record.config),
        "metrics": dict(record.metrics),
        "matrices": [m.to_dict() for m in record.matrices],
        "panel": _plain(plan["panel"]),
        "seed": plan["seed"],
        "workers": plan["fields"]["workers_per_trial"],
        "model": _plain(plan["model"]),
        "benchmark": _plain(plan["benchmark"]),
        "text_encoder": _plain(plan["text_encoder"]),
        "fingerprints": _plain(plan["fingerprints"]),
        "code": plan["code"][record.strategy],
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Versions of the libraries that a result may depend on."""
    return {name: importlib.metadata.version(name) for name in LIBRARIES}


def _plain(value: Any) -> Any:
    """Mappings and sequences as YAML's own dicts and lists."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


def read_best(
    path: Path,
    model: str | None = None,
    benchmark: str | None = None,
    text_encoder: str | None = None,
) -> BestConfig:
    """Read `best.yaml` and find its model and data, or those given instead; raises `InputError`."""
    values = _parsed(path)
    try:
        return _best(values, model, benchmark, text_encoder)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f'"{path}" must be as export.py wrote it; {error!r} is wrong') from error


def _parsed(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f'the configuration must be a file that export.py wrote; no "{path}"')
    try:
        values = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f'"{path}" must be YAML: {error}') from error
    if not isinstance(values, dict):
        raise InputError(f'"{path}" must be a mapping, got {type(values).__name__}')
    for key in values:
        if key not in KEYS:
            raise unknown(f'key in "{path}", which export.py must have written', key, KEYS)
    missing = [key for key in KEYS if key not in values]
    if missing:
        raise InputError(f'"{path}" must hold {", ".join(missing)}; it does not')
    return values


def _best(
    values: Mapping[str, Any], model: str | None, benchmark: str | None, text_encoder: str | None
) -> BestConfig:
    folder = model_folder(model or _found(values["model"]))
    data = load_benchmark(benchmark or _found(values["benchmark"]))
    orderings, initial = _tuples(values["panel"]["orderings"]), tuple(values["panel"]["initial"])
    if values["panel"]["learnt"] not in INITIAL_STATES:
        raise unknown("way to learn initial tasks", values["panel"]["learnt"], INITIAL_STATES)
    panel = Panel(**{**values["panel"], "orderings": orderings, "initial": initial})
    encoder = text_encoder or str(values["text_encoder"]["path"])
    if encoder:  # absolute: on other nodes, and in a lane, the working directory is another
        encoder = str(Path(encoder).expanduser().resolve())
        check_text_encoder(Path(encoder))
    fingerprints = Fingerprints(
        model=model_fingerprint(folder),
        tasks={t: data.task(t).fingerprint() for t in (*panel.tasks, *panel.initial)},
        seed=values["seed"],
        workers=values["workers"],
        text_encoder=text_encoder_fingerprint(encoder),
    )
    saved = values["fingerprints"]
    if not model and fingerprints.model != saved["model"]:
        raise InputError(
            f'the model in "{folder}" is not the one of the search; --model NAME takes it'
        )
    if fingerprints.text_encoder != values["text_encoder"]["print"]:
        raise InputError(
            f'the text encoder in "{encoder}" must be the one of the search, and is another'
        )
    changed = [t for t, print_ in fingerprints.tasks.items() if print_ != saved["tasks"].get(t)]
    if not benchmark and changed:
        raise InputError(
            f"the data of {', '.join(changed)} are not those of the search; --benchmark NAME takes them"
        )
    return BestConfig(
        config=TrialConfig.from_dict(values["config"]),
        panel=panel,
        seed=values["seed"],
        workers=values["workers"],
        model=folder,
        benchmark=data,
        fingerprints=fingerprints,
        text_encoder=encoder,
        # Of another model, or on other data, they have nothing to say.
        matrices=()
        if model or benchmark
        else tuple(ScoreMatrix.from_dict(m) for m in values["matrices"]),
        code_versions={"code": values["code"], "versions": values["versions"]},
    )


def _found(place: Mapping[str, str]) -> str:
    """The path where the search had it; its name where that is no more (another checkout)."""
    return place["path"] if Path(place["path"]).exists() else place["name"]


def _tuples(orderings: object) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(map(str, o)) for o in orderings)  # type: ignore[attr-defined]


def with_orderings(found: BestConfig, orderings: tuple[tuple[str, ...], ...]) -> BestConfig:
    """The same configuration on other orderings, with no matrices to compare with."""
    return dataclasses.replace(
        found, panel=dataclasses.replace(found.panel, orderings=orderings), matrices=()
    )


def is_code_of_search(found: BestConfig) -> bool:
    """Whether the code that trains now is that of the search."""
    code = strategy_code(found.config.strategy.name)
    return found.code_versions == {"code": code, "versions": versions()}
