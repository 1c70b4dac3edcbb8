"""The records of the stage store: one class for each kind of artefact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, Field

from spaces.errors import DamagedError
from spaces.records import VERSION, Record
from spaces.seals import SEAL, sealed

KIND = "kind"
"""Field of every record that names its class."""
KEY = "key"
"""Field of every record that names its own key, so that two that changed places are found."""
DIVERGED = "diverged"
"""Kind of the record of a stage that diverged, so that no other trial trains it again."""


class Blob(BaseModel):
    """Tensors of a record, by content address."""

    sha256: str
    bytes: int


class StageRecord(Record):
    """Fields that all records share."""

    TITLE: ClassVar[str] = "stage record"
    SCHEMA: ClassVar[int] = 2
    REMEDY: ClassVar[str] = "it is made again"
    SEALED: ClassVar[bool] = True
    MARKS: ClassVar[tuple[str, ...]] = (VERSION, SEAL, KIND, KEY)
    KIND: ClassVar[str]
    seconds: float = 0.0
    """Wall-clock seconds that the artefact took."""
    cpu_seconds: float = 0.0
    blob: Blob | None = None
    """Set by the store, like the two fields below."""
    written: int | None = None
    """Modification time of the blob's file, in nanoseconds."""
    evicted: bool = False
    """True if the tensors were removed to save space."""

    def to_values(self, key: str = "") -> dict[str, Any]:
        """Return sealed plain values for JSON under `key`, without fields that were not given."""
        given = self.model_dump(mode="json", exclude_unset=True)
        return sealed({VERSION: self.SCHEMA, KIND: self.KIND, KEY: key, **given})


class TrainedRecord(StageRecord):
    """Weights that a stage trained."""

    KIND = "trained"
    tasks: tuple[str, ...]
    stage: int
    parent: str
    """Key of the weights that training started from."""
    steps: int
    first_loss: float
    last_loss: float
    parameters: int
    """Number of trained weights."""
    memory: dict[str, int] = Field(default_factory=dict)
    """Number and bytes of the old examples that were trained on again."""
    old: tuple[str, ...] = ()
    """Old tasks, if the strategy acted on the stage."""
    similarity: dict[str, tuple[float, ...]] = Field(default_factory=dict)
    """Similarity of the new task to each old one, by modality, if the strategy acted."""


class DivergedRecord(StageRecord):
    """A stage whose losses, gradients or weights are not finite."""

    KIND = DIVERGED
    message: str
    memory: dict[str, int] = Field(default_factory=dict)


class ByProductRecord(StageRecord):
    """Tensors that training left beside the weights."""

    KIND = "by-product"
    strategy: str
    of: str
    """Key of the trained weights."""


class KeptRecord(StageRecord):
    """Consolidated tensors of one task."""

    KIND = "kept"
    strategy: str
    of: str
    """Key of the trained weights."""
    task: str
    parameters: int = 0
    """Number of values that routing reads."""


class EmbeddingRecord(StageRecord):
    """Embedding of one task."""

    KIND = "task embedding"
    task: str


class ScoreRecord(StageRecord):
    """Score of one task, with all answers."""

    KIND = "scored"
    task: str
    split: str
    metric: str
    score: float = Field(allow_inf_nan=False)
    format_compliance: float | None = None
    constrained_accuracy: float | None = None
    retrieval_accuracy: float | None = None
    oracle_score: float | None = None
    general_kl: float | None = None
    """KL divergence from the untrained model, in nats per token of the true answers; None if learned."""
    predictions: tuple[dict[str, Any], ...] = ()
    """One row an example: id, prompt, prediction, answers and the scores of the answer."""


KINDS: dict[str, type[StageRecord]] = {
    cls.KIND: cls
    for cls in (
        *(TrainedRecord, DivergedRecord, ByProductRecord, KeptRecord),
        *(EmbeddingRecord, ScoreRecord),
    )
}


def parse_record(values: Mapping[str, Any], source: str, key: str) -> StageRecord:
    """Return a record of the class that it names.

    Raises `InputError` if it names none of these, and `DamagedError` if it changed or has another key.
    """
    kind = str(values.get(KIND))
    if kind not in KINDS:
        raise DamagedError(
            f'{source} must be of a known kind ({", ".join(KINDS)}), got "{kind[:40]}"'
        )
    record = KINDS[kind].from_values(values, source)
    if values.get(KEY) != key:
        raise DamagedError(f'{source} must hold the record of its own key, got "{values[KEY]}"')
    return record
