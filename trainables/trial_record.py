"""A trial's record on disk: the source of tables, reports and `best.yaml`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator, field_validator

from spaces.damage import set_aside
from spaces.errors import InputError, first_line
from spaces.files import write_atomically
from spaces.records import NamedRecord
from spaces.secrets import masked
from trainables.metrics.score_matrix import ScoreMatrix
from trainables.metrics.summary import defined_or_none, metrics_over_orderings
from trainables.panel import Panel

TRIALS = "trials"
"""Folder of a search's trial records."""
State = Literal["running", "finished", "stopped", "diverged", "failed"]
Matrix = Annotated[
    ScoreMatrix,
    PlainValidator(lambda v: v if isinstance(v, ScoreMatrix) else ScoreMatrix.from_dict(v)),
    PlainSerializer(ScoreMatrix.to_dict),
]


class Part(BaseModel):
    """Base of the parts of a trial's record."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="null")


class StageCost(Part):
    """The seconds that a stage took, and the weights that it started from."""

    tasks: tuple[tuple[str, ...], ...] = ()
    """The stage's path: the tasks trained at each stage up to this one; empty = before any stage."""
    key: str
    """Key of the stage's weights."""
    train_seconds: float = 0.0
    """Seconds of training, by whichever trial trained it."""
    trained: bool = False
    """True if this trial trained it; else it came from the store."""
    seconds: dict[str, float] = Field(default_factory=dict)
    """Seconds that this trial spent, by part: embed, train, keep, score."""
    waited: float = 0.0
    """Seconds of waiting for another trial."""
    similarity: dict[str, dict[str, float]] = Field(default_factory=dict)
    """Similarity of the new task to each old one, by modality."""
    start_task: str | None = None
    """The old task whose weights training started from; None = the initial weights."""
    new_expert: bool = False
    """True if the weights stand beside those as an expert of their own."""

    def credited(self, trained_earlier: Mapping[str, StageCost]) -> StageCost:
        """Return the cost as it was when the trial trained the stage, before an interruption."""
        own = trained_earlier.get(self.key)
        if own is None:
            return self
        work = {"trained": own.trained, "seconds": own.seconds, "waited": own.waited}
        return self.model_copy(update=work)


class ScoredCell(Part):
    """One cell of a score matrix, and the key of the score behind it."""

    ordering: int
    """Position of the ordering in the panel, from 1."""
    stage: int
    task: str
    split: str
    key: str


class TrialRecord(NamedRecord):
    """All that is known of a trial: its configuration, scores, costs and keys."""

    TITLE: ClassVar[str] = "trial record"
    SCHEMA: ClassVar[int] = 2
    REMEDY: ClassVar[str] = "search/run.py --resume makes it again"
    SEALED: ClassVar[bool] = True
    name: str
    state: State
    message: str = ""
    """Reason of a failure or divergence."""
    config: dict[str, dict[str, Any]]
    """`TrialConfig.to_dict()`."""
    metrics: dict[str, float | None] = Field(default_factory=dict)
    """Means over the orderings that are whole; None where undefined."""
    matrices: tuple[Matrix, ...] = ()
    """One score matrix for each ordering."""
    extra_matrices: dict[str, tuple[Matrix, ...]] = Field(default_factory=dict)
    """Matrices of further scores, by name: `tasks.EXTRA_SCORES`, `RETRIEVAL` among experts, `GENERAL_KL`
    with general tasks."""
    cells: tuple[ScoredCell, ...] = ()
    keys: tuple[str, ...] = ()
    """Keys of all that the trial needs in the store."""
    before: StageCost | None = None
    """Cost of training the initial tasks and of scoring before any stage."""
    stages: tuple[StageCost, ...] = ()
    """Stages done, in the order of the panel."""
    ahead: tuple[StageCost, ...] = ()
    """Stages trained before their turn, which are not reported yet."""
    seen_scores: tuple[dict[str, float], ...] = ()
    """Scores of the tasks seen so far, after each stage done: the input of stopping rules."""
    stages_done: int = 0
    stages_total: int = 0
    panel: Panel | None = None

    @field_validator("message")
    @classmethod
    def _without_secrets(cls, message: str) -> str:
        """Return the message of an error, which may repeat an address with a password."""
        return masked(message)

    @field_validator("config")
    @classmethod
    def _names_strategy(cls, config: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Raise `ValueError` for a configuration without a strategy's name."""
        if not isinstance(config.get("strategy", {}).get("name"), str):
            raise ValueError("it must name its strategy")
        return config

    @property
    def strategy(self) -> str:
        """The strategy's name."""
        return self.config["strategy"]["name"]

    def knobs(self) -> dict[str, Any]:
        """Return every knob under the name of its part: `replay.ratio`, `training.epochs`."""
        named = {
            self.strategy if part == "strategy" else part: v for part, v in self.config.items()
        }
        return {
            f"{part}.{k}": v for part, own in named.items() for k, v in own.items() if k != "name"
        }

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a record; raises `InputError` if the file cannot be read or holds none."""
        try:
            return super().read(path).summarised()
        except OSError as error:
            raise InputError(f"{path} cannot be read: {first_line(error)}") from error

    def summarised(self) -> Self:
        """Return the record with the metrics that its score matrices give, whatever it held."""
        if not self.matrices:
            return self
        given = metrics_over_orderings(self.matrices)
        found = {name: defined_or_none(given[name]) for name in given if name in self.metrics}
        return self.model_copy(update={"metrics": {**self.metrics, **found}})

    def write(self, run: Path) -> None:
        """Write the record into the folder of its search."""
        path = trial_path(run, self.name)
        if path.is_dir():
            set_aside(path, "a folder stands in its place")
        write_atomically(path, self.to_json())

    def stages_trained(self) -> dict[str, StageCost]:
        """Return the stages that this trial trained itself, by key, in turn or ahead."""
        return {stage.key: stage for stage in (*self.stages, *self.ahead) if stage.trained}


def trial_path(run: Path, name: str) -> Path:
    """Return the path of a trial's record in the folder of its search."""
    return run / TRIALS / f"{name}.json"


def named_keys(path: Path) -> frozenset[str] | None:
    """Return the keys that a record names, whatever its schema; None if it cannot be read.

    Eviction must not remove the stages of a search that another version wrote.
    """
    try:
        record = json.loads(path.read_bytes())
        parts = [*record.get("stages", ()), *record.get("cells", record.get("records", ()))]
        return frozenset([*record.get("keys", ()), *(part["key"] for part in parts)])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
