"""One trial without Ray: a configuration walked through the prefix tree of a panel of orderings."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tasks import EXTRA_SCORES
from trainables.config import TrialConfig
from trainables.lineage import Lineage
from trainables.metrics.glossary import RETRIEVAL
from trainables.metrics.score_matrix import ScoreMatrix
from trainables.metrics.summary import summary, summary_names
from trainables.panel import Panel, Prefix
from trainables.stage_job import DivergedError, Fingerprints, StageJob
from trainables.store.leases import POLL_SECONDS, HeldError
from trainables.store.records import DIVERGED
from trainables.store.stage_store import StageStore


class Runner(Protocol):
    """Who makes a stage: a lane of Ray Train workers, or this very process."""

    def run(self, job: StageJob) -> Mapping[str, float]:
        """Make what `job` asks for; returns the seconds that each part took."""
        ...

    def ready(self) -> bool:
        """Whether it could begin with a job at once; one that could not begins to get ready."""
        ...


@dataclass
class PanelTrial:
    """A configuration on its way through the panel; `step` makes one stage."""

    config: TrialConfig
    panel: Panel
    fingerprints: Fingerprints
    store: StageStore
    runner: Runner
    completed: int = 0
    """Stages of the panel that are done."""
    stop_after: int | None = None
    """Stages after which it is stopped, if that is known: what only later ones need is not made again."""
    scores: dict[Prefix, dict[str, float]] = field(default_factory=dict)
    extra_scores: dict[str, dict[Prefix, dict[str, float]]] = field(default_factory=dict)
    """Further scores by name (`tasks.EXTRA_SCORES`, `RETRIEVAL`); NaN where a task has none."""
    stages: list[dict[str, Any]] = field(default_factory=list)
    before: dict[str, Any] = field(default_factory=dict)
    """What it took to have the initial tasks trained, and all tasks scored, before any stage."""
    _ahead: dict[Prefix, dict[str, Any]] = field(default_factory=dict)
    """Stages made before their turn, and at what cost."""
    _embedding_seconds: dict[str, float] = field(default_factory=dict)
    """What making signatures took."""
    _waited: float = 0.0
    """Seconds for signatures that another trial was making."""
    _cells: dict[Prefix, list[str]] = field(default_factory=dict)
    _summaries: dict[int, dict[str, float]] = field(default_factory=dict)
    """The metrics of each ordering that is whole, by its place in the panel."""
    _matrices: dict[tuple[str, Sequence[str]], tuple[int, ScoreMatrix]] = field(
        default_factory=dict
    )
    """The matrices made last, with how many of their rows were known then: one stage adds to few."""

    def __post_init__(self) -> None:
        self.lineage = Lineage(self.config, self.panel, self.fingerprints, self.store)
        self.paths = self.panel.paths(self.config)
        self.inner = {path[:i] for path in self.paths for i in range(len(path))}
        self._rows = {ordering: self._rows_of(ordering) for ordering in self.panel.orderings}
        # Made once: both go into every job and record.
        self.config_values = self.config.to_dict()
        self.panel_values = dataclasses.asdict(self.panel)

    @property
    def finished(self) -> bool:
        """Whether every stage of the panel is done."""
        return self.completed == len(self.paths)

    def step(self) -> None:
        """Make the next stage of the panel, or take from the store what is there of it."""
        if self.completed == 0:
            self.embed_tasks()
            self._make(())
        self._make(self.paths[self.completed])
        self.completed += 1

    @property
    def at_hand(self) -> bool:
        """Whether the next step finds all that it needs in the store, or that a stage diverged."""
        if self.completed == 0 and self._unembedded():
            return False
        paths = [self.paths[self.completed]] if self.completed else [(), self.paths[0]]
        for path in paths:
            try:
                self._check_sound(path)
            except DivergedError:
                return True
            if not self.job(path).empty:
                return False
        return True

    def key(self, path: Prefix) -> str:
        """The key of the weights that a path's last stage trained."""
        return self.lineage.key(path)

    def job(self, path: Prefix) -> StageJob:
        """What is still to be made of a path's last stage."""
        key, lineage, split = self.key(path), self.lineage, self.panel.split
        context, before = lineage.context(path), lineage.kept_before(path)
        cells = [(task, split, lineage.scored(path, task)) for task in self.cells(path)]
        score = tuple(cell for cell in cells if not self.store.has(cell[2]))
        kept = lineage.kept(path) if path in self.inner or self.config.strategy.has_experts else []
        keep = tuple(pair for pair in kept if self._lacks(pair[1], path))
        by_product = lineage.by_product(path) or "" if keep else ""
        needed = [key, by_product] if by_product else [key]
        retrain = bool(keep) and not all(map(self.store.has, needed))
        return StageJob(
            config=self.config_values,
            key=key,
            base=lineage.base,
            parent=self.key(lineage.source(path)) if path else lineage.base,
            stage=lineage.depth(path),
            context=context,
            kept=tuple(before[task] for task in context.old if task in before),
            train=key != lineage.base and (self._lacks(key, path) or retrain),
            score=score,
            by_product=by_product,
            keep=keep,
            experts=lineage.experts(path),
            answered=tuple(
                (task, lineage.scored(path[:i], task))
                for task, *_ in score
                for i in range(len(path))
                if lineage.experts(path[:i]) and task in self.cells(path[:i])
            ),
        )

    def _lacks(self, key: str, path: Prefix) -> bool:
        """Whether what a path's last stage makes is to be made.

        What was removed to save space is made again only if a score hangs on it that is not there.
        """
        if self.store.has(key):
            return False
        return self.store.header(key) is None or any(
            not self.store.has(self.lineage.scored(longer, task))
            for longer in [path, *self.paths[: self.stop_after]]
            if longer[: len(path)] == path
            for task in self.cells(longer)
        )

    @functools.cached_property
    def needs(self) -> frozenset[str]:
        """Keys of all that the trial comes from; the tasks' signatures must have been made."""
        paths = [(), *self.paths]
        kept = itertools.chain.from_iterable(map(self.lineage.kept, paths))
        pairs = [*kept, *self.lineage.embeddings()]
        scores = (self.lineage.scored(path, task) for path in paths for task in self.cells(path))
        return frozenset([*map(self.key, paths), *(key for _, key in pairs), *scores])

    def cells(self, path: Prefix) -> list[str]:
        """The tasks scored after a path."""
        if path not in self._cells:
            self._cells[path] = self.panel.cells(self.config, path)
        return self._cells[path]

    def embed_tasks(self) -> None:
        """Have the tasks' signatures made, which decide where the stages of some strategies begin."""
        if not self._unembedded():
            return
        base = self.lineage.base
        start = StageJob(self.config_values, base, base, base, 0, self.lineage.context(()))
        with self.store.lease(f"embeddings-{base}") as lease:
            self._waited += lease.waited
            if lacking := self._unembedded():  # whoever held the lease may have made them
                self._embedding_seconds |= self.runner.run(
                    dataclasses.replace(start, embed=lacking)
                )

    def _unembedded(self) -> tuple[tuple[str, str], ...]:
        return tuple(pair for pair in self.lineage.embeddings() if not self.store.has(pair[1]))

    def _make(self, path: Prefix) -> None:
        """Have a stage made; while another trial makes it, make others of the panel ahead, else wait."""
        made, waited = self._ahead.pop(path, None) or self._tried(path), 0.0
        while made is None:
            if not self._go_ahead(path):
                ready, since = self.runner.ready(), time.monotonic()
                time.sleep(POLL_SECONDS)
                # What a lane's start takes is no waiting: it is begun meanwhile.
                waited += time.monotonic() - since if ready else 0.0
            made = self._tried(path)
        if not path:
            made = {**made, "seconds": {**self._embedding_seconds, **made["seconds"]}}
            waited += self._waited
        self._take(path, {**made, "waited": waited})

    def _tried(self, path: Prefix) -> dict[str, Any] | None:
        """Have a stage made unless it is there; None if another trial is making it."""
        self._check_sound(path)
        job = self.job(path)
        if job.empty:
            return {"trained": False, "seconds": {}}
        try:
            with self.store.lease(job.key, patience=0.0):
                self._check_sound(path)
                job = self.job(path)  # whoever held the lease may have made it
                seconds = {} if job.empty else dict(self.runner.run(job))
                return {"trained": job.train, "seconds": seconds}
        except HeldError:
            return None

    def _check_sound(self, path: Prefix) -> None:
        """Raise `DivergedError` for a stage that has diverged before, here or in another trial."""
        record = self.store.header(self.key(path)) or {}
        if record.get("kind") == DIVERGED:
            raise DivergedError(record["message"])

    def _go_ahead(self, wanted: Prefix) -> bool:
        """Make another stage that can be begun now, before its turn; whether there was one.

        It is reported in its turn, for trials are compared after the same stages.
        """
        there = {*self.scores, *self._ahead}
        if not self.panel.first and not self.lineage.kept(()):
            there.add(())  # nothing is made there but scores, for which no stage has to wait
        for path in self.paths:
            if path in there or path == wanted or path[:-1] not in there:
                continue
            if made := self._tried(path):
                self._ahead[path] = made
                there.add(path)
                if made["seconds"]:  # it was made, and not only found
                    return True
        return False

    def _take(self, path: Prefix, made: dict[str, Any]) -> None:
        self.scores[path] = {}
        for task in self.cells(path):
            record = self.store.header(self.lineage.scored(path, task))
            assert record is not None, f"no score of {task} after {path}"
            self.scores[path][task] = record["score"]
            for name in (*EXTRA_SCORES, *RETRIEVAL):
                cells = self.extra_scores.setdefault(name, {}).setdefault(path, {})
                value = record.get(name)
                cells[task] = float("nan") if value is None else value
        key = self.key(path)
        record = self.store.header(key) or {}
        cost = record.get("seconds", 0.0)
        if path:
            context = self.lineage.context(path)
            similar = {
                n: dict(zip(context.old, v, strict=True)) for n, v in context.similarity.items()
            }
            begin = dataclasses.asdict(self.lineage.begin(path))
            about = {"tasks": path, "key": key, "train_seconds": cost}
            about |= {"similarity": similar, "begin": begin}
            self.stages.append(about | made)
        else:
            self.before = {"key": key, "train_seconds": cost} | made

    @property
    def before_seconds(self) -> float:
        """Of training the initial tasks."""
        return self.before.get("train_seconds", 0.0)

    def ahead(self) -> list[dict[str, Any]]:
        """The stages made before their turn, which are not reported yet."""
        return [
            {"tasks": path, "key": self.key(path)} | made
            for path, made in self._ahead.items()
            if made["seconds"]
        ]

    # What came of it ---------------------------------------------------------------------------

    def matrices(self, beside: str = "") -> list[ScoreMatrix]:
        """One score matrix for each ordering, or one of what is beside; stages not made yet are NaN."""
        cells = self.extra_scores.get(beside, {}) if beside else self.scores
        made = []
        for ordering in self.panel.orderings:
            rows = {row: cells[path] for row, path in self._rows[ordering].items() if path in cells}
            known, matrix = self._matrices.get((beside, ordering), (-1, None))
            if matrix is None or known < len(rows):
                # Orderings may differ in their tasks, and the first row scores those of all.
                columns = (*ordering, *self.panel.initial)
                own = {n: {t: s for t, s in row.items() if t in columns} for n, row in rows.items()}
                matrix = ScoreMatrix.from_rows(ordering, own, self.panel.initial)
                self._matrices[beside, ordering] = len(rows), matrix
            made.append(matrix)
        return made

    def records(self) -> list[dict[str, Any]]:
        """Where the answers behind each cell are: the key of its record in the store."""
        return [
            {"ordering": number, "stage": row, "task": task, "split": self.panel.split}
            | {"key": self.lineage.scored(path, task)}
            for number, ordering in enumerate(self.panel.orderings, start=1)
            for row, path in self._rows[ordering].items()
            for task in self.scores.get(path, {})
            if task in (*ordering, *self.panel.initial)
        ]

    def _rows_of(self, ordering: Sequence[str]) -> dict[int, Prefix]:
        """The rows of an ordering's matrix, and the path that fills each."""
        curriculum = self.config.strategy.curriculum(ordering)
        # Joint tuning has one stage: it stands where the sequence ends.
        late = len(ordering) - len(curriculum)
        stages = range(1, len(curriculum) + 1)
        return {0: ()} | {late + stage: curriculum[:stage] for stage in stages}

    def metrics(self) -> dict[str, float]:
        """Every metric, averaged over the orderings that are whole; NaN before the first one is."""
        whole = [o for o in self.panel.orderings if self._whole(o)]
        each = self._each()
        metrics = {
            name: statistics.fmean(s[name] for s in each) if each else float("nan")
            for name in summary_names(bool(self.panel.initial))
        }
        finals = [s["final_average"] for s in each]
        metrics["final_average_std"] = statistics.stdev(finals) if len(finals) > 1 else 0.0
        metrics["worst_ordering"] = min(finals, default=float("nan"))
        spent = sum(stage["train_seconds"] for stage in self.stages)
        metrics["train_seconds"] = self.before_seconds + spent
        for name, of in {"stored_bytes": self._stored, "added_parameters": self._added}.items():
            values = [of(self.config.strategy.curriculum(o)) for o in whole]
            metrics[name] = statistics.fmean(values) if values else float("nan")
        return metrics

    def _each(self) -> list[dict[str, float]]:
        """The metrics of each ordering that is whole."""
        whole = {n for n, o in enumerate(self.panel.orderings) if self._whole(o)}
        if whole - self._summaries.keys():
            matrices = self.matrices()
            self._summaries = {n: summary(matrices[n]) for n in sorted(whole)}
        return list(self._summaries.values())

    def seen(self) -> list[dict[str, float]]:
        """After each stage done (of all orderings), the scores of the tasks seen: what rungs compare."""
        found = [(self.scores[path], path) for path in self.paths[: self.completed]]
        return [{t: row[t] for group in path for t in group if t in row} for row, path in found]

    def _whole(self, ordering: Sequence[str]) -> bool:
        return self.config.strategy.curriculum(ordering) in self.paths[: self.completed]

    def _stored(self, path: Prefix) -> float:
        """Bytes held at a path's end beside the model: memories, importances, keys, further experts."""
        records = [self.store.header(key) or {} for key in self.lineage.kept_before(path).values()]
        if self.config.strategy.has_experts:
            experts = self.lineage.experts(path)
            keys = [*(e.key for e in experts[1:]), *(key for e in experts for key in e.kept)]
            records = [self.store.header(key) or {} for key in keys]
        kept = sum(record.get("blob", {}).get("bytes", 0) for record in records)
        memory = (self.store.header(self.key(path)) or {}).get("memory", {})
        return kept + memory.get("bytes", 0)

    def _added(self, path: Prefix) -> float:
        """Parameters that the model has more than one tuned without any strategy: further experts, keys."""
        experts = self.lineage.experts(path)
        trained = (self.store.header(self.key(path)) or {}).get("parameters", 0)
        kept = [self.store.header(key) or {} for e in experts for key in e.kept]
        return trained * len(experts[1:]) + sum(record.get("parameters", 0) for record in kept)
