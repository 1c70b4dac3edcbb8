"""The outcome of a trial: its score matrices, its metrics and the rows of its record."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from tasks import EXTRA_SCORES
from trainables.lineage import Lineage
from trainables.metrics.glossary import GENERAL_KL, RETRIEVAL
from trainables.metrics.score_matrix import ScoreMatrix
from trainables.metrics.summary import mean_metrics, summary
from trainables.panel import StagePath
from trainables.store.records import KeptRecord, ScoreRecord, TrainedRecord
from trainables.store.stage_store import StageStore
from trainables.trial_record import ScoredCell, StageCost


@dataclass(frozen=True)
class Work:
    """The work that one trial did on a stage."""

    trained: bool
    """True if this trial trained it; else it came from the store."""
    seconds: dict[str, float]
    """Seconds by part; empty if the stage was complete in the store."""
    waited: float = 0.0
    """Seconds of waiting for another trial."""


@dataclass
class TrialOutcome:
    """The scores and costs of the stages done so far, in the order of the panel."""

    lineage: Lineage
    store: StageStore
    scores: dict[StagePath, dict[str, float]] = field(default_factory=dict)
    """Score of each task scored after a path."""
    extra_scores: dict[str, dict[StagePath, dict[str, float]]] = field(default_factory=dict)
    """Further scores by name: `tasks.EXTRA_SCORES`, `RETRIEVAL` and `GENERAL_KL`; NaN for none."""
    stages: list[StageCost] = field(default_factory=list)
    before: StageCost | None = None
    """Cost of training the initial tasks, and of scoring all tasks, before any stage."""
    _summaries: dict[int, dict[str, float]] = field(default_factory=dict)
    """Metrics of each ordering that is whole, by its position in the panel."""
    _matrices: dict[tuple[str, Sequence[str]], tuple[int, ScoreMatrix]] = field(
        default_factory=dict
    )
    """The latest matrices and the number of rows known then: one stage adds to few of them."""
    _cells: dict[tuple[int, int], list[ScoredCell]] = field(default_factory=dict)
    """Cells by the position of their ordering and their row."""

    def __post_init__(self) -> None:
        self.panel, self.strategy = self.lineage.panel, self.lineage.config.strategy
        self._rows = {ordering: self._rows_of(ordering) for ordering in self.panel.orderings}

    def add(self, path: StagePath, work: Work) -> None:
        """Add a stage that is complete in the store."""
        self.scores[path] = {}
        for task in self.lineage.scored_tasks(path):
            record = self.store.header(self.lineage.scored(path, task))
            assert isinstance(record, ScoreRecord), f"no score of {task} after {path}"
            self.scores[path][task] = record.score
            for name in (*EXTRA_SCORES, *RETRIEVAL, GENERAL_KL):
                cells = self.extra_scores.setdefault(name, {}).setdefault(path, {})
                value = getattr(record, name)
                cells[task] = float("nan") if value is None else value
        stage = self.cost(path, work)
        if path:
            self.stages.append(stage)
        else:
            self.before = stage

    def cost(self, path: StagePath, work: Work) -> StageCost:
        """Return the cost of a stage, and where its training started."""
        key = self.lineage.key(path)
        record, own = self.store.header(key), dataclasses.asdict(work)
        train_seconds = record.seconds if record else 0.0
        if not path:
            return StageCost(key=key, train_seconds=train_seconds, **own)
        context, start = self.lineage.context(path), self.lineage.start(path)
        similarity = {
            modality: dict(zip(context.old, values, strict=True))
            for modality, values in context.similarity.items()
        }
        return StageCost(
            tasks=path,
            key=key,
            train_seconds=train_seconds,
            similarity=similarity,
            start_task=start.task,
            new_expert=start.expert,
            **own,
        )

    def matrices(self, extra: str = "") -> list[ScoreMatrix]:
        """Return one score matrix for each ordering; stages not done yet are NaN.

        `extra`: the name of a further score, in place of the score itself.
        """
        cells = self.extra_scores.get(extra, {}) if extra else self.scores
        matrices = []
        for ordering in self.panel.orderings:
            rows = {row: cells[path] for row, path in self._rows[ordering].items() if path in cells}
            known, matrix = self._matrices.get((extra, ordering), (-1, None))
            if matrix is None or known < len(rows):
                # Orderings may differ in their tasks, and the first row scores those of all.
                columns = self._columns(ordering)
                own = {n: {t: s for t, s in row.items() if t in columns} for n, row in rows.items()}
                further = self.panel.initial, self.panel.general
                matrix = ScoreMatrix.from_rows(ordering, own, *further)
                self._matrices[extra, ordering] = len(rows), matrix
            matrices.append(matrix)
        return matrices

    def extra_matrices(self) -> dict[str, tuple[ScoreMatrix, ...]]:
        """Return the matrices of the further scores that this strategy can have, by name."""
        routed = RETRIEVAL if self.strategy.has_experts else ()
        drifts = (GENERAL_KL,) if self.panel.general else ()
        return {name: tuple(self.matrices(name)) for name in (*EXTRA_SCORES, *routed, *drifts)}

    def _columns(self, ordering: Sequence[str]) -> tuple[str, ...]:
        """Return the tasks that have a column in an ordering's matrix."""
        return (*ordering, *self.panel.initial, *self.panel.general)

    def cells(self) -> Iterator[ScoredCell]:
        """Yield each cell scored so far, with the key of its score."""
        for number, ordering in enumerate(self.panel.orderings, start=1):
            for row, path in self._rows[ordering].items():
                if path in self.scores:
                    # A record is written at every stage: each cell is made once.
                    if (number, row) not in self._cells:
                        self._cells[number, row] = self._row_cells(number, row, path)
                    yield from self._cells[number, row]

    def _row_cells(self, number: int, row: int, path: StagePath) -> list[ScoredCell]:
        columns = self._columns(self.panel.orderings[number - 1])
        return [
            ScoredCell(
                ordering=number,
                stage=row,
                task=task,
                split=self.panel.split,
                key=self.lineage.scored(path, task),
            )
            for task in self.scores[path]
            if task in columns
        ]

    def _rows_of(self, ordering: Sequence[str]) -> dict[int, StagePath]:
        """Return the path that fills each row of an ordering's matrix."""
        curriculum = self.strategy.curriculum(ordering)
        # Joint tuning has one stage: it stands where the sequence ends.
        late = len(ordering) - len(curriculum)
        stages = range(1, len(curriculum) + 1)
        return {0: ()} | {late + stage: curriculum[:stage] for stage in stages}

    def metrics(self) -> dict[str, float]:
        """Return every metric, averaged over the orderings that are whole; NaN before the first is."""
        ends = [self.strategy.curriculum(o) for o in self.panel.orderings]
        whole = {n: path for n, path in enumerate(ends) if path in self.scores}
        if whole.keys() - self._summaries.keys():
            matrices = self.matrices()
            self._summaries = {n: summary(matrices[n]) for n in whole}
        metrics = mean_metrics(list(self._summaries.values()), self.panel)
        if self.panel.general:
            metrics[GENERAL_KL] = self._mean_kl(whole.values())
        before = self.before.train_seconds if self.before else 0.0
        metrics["train_seconds"] = before + sum(stage.train_seconds for stage in self.stages)
        sizes = {"stored_bytes": self._stored_bytes, "added_parameters": self._added_parameters}
        for name, size in sizes.items():
            values = [size(path) for path in whole.values()]
            metrics[name] = statistics.fmean(values) if values else float("nan")
        return metrics

    def _mean_kl(self, ends: Iterable[StagePath]) -> float:
        """Return the mean divergence of the general tasks at the ends of orderings; NaN without one."""
        scored = [self.extra_scores[GENERAL_KL][path] for path in ends]
        kls = [row[task] for row in scored for task in self.panel.general]
        return statistics.fmean(kls) if kls else float("nan")

    def seen_scores(self) -> list[dict[str, float]]:
        """Return the scores of the tasks seen so far, after each stage done (of all orderings)."""
        return [
            {task: row[task] for group in path for task in group if task in row}
            for path, row in self.scores.items()
            if path
        ]

    def _stored_bytes(self, path: StagePath) -> float:
        """Return the bytes held at a path's end beside the model.

        These are memories, importances, keys and further experts.
        """
        keys = list(self.lineage.kept_before(path).values())
        if self.strategy.has_experts:
            experts = self.lineage.experts(path)
            keys = [*(e.key for e in experts[1:]), *(key for e in experts for key in e.kept)]
        records = [self.store.header(key) for key in keys]
        kept = sum(record.blob.bytes for record in records if record and record.blob)
        trained = self.store.header(self.lineage.key(path))
        return kept + (trained.memory.get("bytes", 0) if isinstance(trained, TrainedRecord) else 0)

    def _added_parameters(self, path: StagePath) -> float:
        """Return the parameters at a path's end beyond those that finetune would have.

        Weights that grew in place count, further experts, and the tensors by which these are chosen.
        """
        experts = self.lineage.experts(path)
        finetuned = self._parameters(self.lineage.key(path[:1]))
        # The untrained model may answer as the first expert; it has no record.
        held = sum(self._parameters(expert.key) or finetuned for expert in experts)
        routing = sum(self._parameters(key) for expert in experts for key in expert.kept)
        return (held or self._parameters(self.lineage.key(path))) - finetuned + routing

    def _parameters(self, key: str) -> int:
        record = self.store.header(key)
        return record.parameters if isinstance(record, TrainedRecord | KeptRecord) else 0
