"""One trial without Ray: it trains a configuration on all orderings of a panel.

A stage is named by its path, the tasks trained up to it, so orderings that begin alike share their stages.
`Lineage` gives the keys of a path's artefacts. The runner makes those that the store lacks.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from trainables.config import TrialConfig
from trainables.lineage import Lineage
from trainables.metrics.score_matrix import ScoreMatrix
from trainables.panel import Panel, StagePath
from trainables.stage_job import DivergedError, Fingerprints, Runner, StageJob
from trainables.store.leases import POLL_SECONDS, HeldError
from trainables.store.records import DivergedRecord
from trainables.store.stage_store import StageStore
from trainables.trial_outcome import TrialOutcome, Work
from trainables.trial_record import StageCost, State, TrialRecord


@dataclass
class PanelTrial:
    """A configuration that is trained along the panel; each `step` completes one stage."""

    config: TrialConfig
    panel: Panel
    fingerprints: Fingerprints
    store: StageStore
    runner: Runner
    completed: int = 0
    """Stages of the panel that are done."""
    stages_needed: int | None = None
    """Number of steps that the caller will make, for a stopped trial that is replayed; None for all.

    Evicted weights that only later stages need are not trained again. `step` itself enforces no limit.
    """
    _ahead: dict[StagePath, Work] = field(default_factory=dict)
    """Work on the stages that were made while the next stage was leased to another trial."""
    _embedding_seconds: dict[str, float] = field(default_factory=dict)
    """Seconds of embedding the tasks."""
    _embedding_wait: float = 0.0
    """Seconds of waiting for another trial that embedded the tasks."""

    def __post_init__(self) -> None:
        self.lineage = Lineage(self.config, self.panel, self.fingerprints, self.store)
        self.outcome = TrialOutcome(self.lineage, self.store)
        self.paths = self.panel.paths(self.config)
        # Only stages that others follow are consolidated, unless experts are retrieved by kept tensors.
        self.continued_paths = {path[:i] for path in self.paths for i in range(len(path))}
        self.config_values = self.config.to_dict()  # made once, for every job and record

    @property
    def finished(self) -> bool:
        """True once every stage of the panel is done."""
        return self.completed == len(self.paths)

    @property
    def stages_done(self) -> int:
        """Stages done of `panel.stages`; a finished trial has them all, joint tuning after its only one."""
        return self.panel.stages if self.finished else self.completed

    @property
    def scores(self) -> dict[StagePath, dict[str, float]]:
        """Scores of the stages done, by path and task."""
        return self.outcome.scores

    @property
    def stages(self) -> list[StageCost]:
        """Costs of the stages done."""
        return self.outcome.stages

    def matrices(self, extra: str = "") -> list[ScoreMatrix]:
        """Return one score matrix for each ordering; see `TrialOutcome.matrices`."""
        return self.outcome.matrices(extra)

    def metrics(self) -> dict[str, float]:
        """Return every metric of the orderings that are whole."""
        return self.outcome.metrics()

    def step(self) -> None:
        """Make what the store lacks of the next stage; the first step also scores the untrained model."""
        if self.completed == 0:
            self.embed_tasks()
            self._make(())
        self._make(self.paths[self.completed])
        self.completed += 1

    @property
    def next_is_stored(self) -> bool:
        """True if the next step finds all that it needs in the store, or a stage that diverged."""
        if self.completed == 0 and self._unembedded():
            return False
        paths = [self.paths[self.completed]] if self.completed else [(), self.paths[0]]
        for path in paths:
            try:
                self._raise_if_diverged(path)
            except DivergedError:
                return True
            if not self.job(path).empty:
                return False
        return True

    def key(self, path: StagePath) -> str:
        """Return the key of the weights that a path's last stage trained."""
        return self.lineage.key(path)

    def job(self, path: StagePath) -> StageJob:
        """Return the job of a path's last stage: the artefacts that the store lacks and that are needed."""
        key, lineage, split = self.key(path), self.lineage, self.panel.split
        context, before = lineage.context(path), lineage.kept_before(path)
        scores = [(task, split, lineage.scored(path, task)) for task in lineage.scored_tasks(path)]
        score = tuple(one for one in scores if not self.store.has(one[2]))
        consolidated = path in self.continued_paths or self.config.strategy.has_experts
        kept = lineage.kept(path) if consolidated else []
        to_consolidate = tuple(pair for pair in kept if self._must_make(pair[1], path))
        by_product = lineage.by_product(path) or "" if to_consolidate else ""
        retrain = bool(to_consolidate) and not all(map(self.store.has, {key, by_product or key}))
        return StageJob(
            config=self.config_values,
            key=key,
            base=lineage.base,
            parent=self.key(lineage.source(path)) if path else lineage.base,
            depth=lineage.depth(path),
            seed=self.fingerprints.seed,
            context=context,
            kept_before=tuple(before[task] for task in context.old if task in before),
            train=key != lineage.base and (self._must_make(key, path) or retrain),
            score=score,
            general=self.panel.general,
            by_product=by_product,
            to_consolidate=to_consolidate,
            experts=lineage.experts(path),
            answered=tuple(
                (task, lineage.scored(path[:i], task))
                for task, *_ in score
                for i in range(len(path))
                if lineage.experts(path[:i]) and task in lineage.scored_tasks(path[:i])
            ),
        )

    def _must_make(self, key: str, path: StagePath) -> bool:
        """Return True if the artefact `key` of a path's last stage has no record, or is needed again.

        Evicted tensors are needed if a score of this path, or of a longer one up to
        `stages_needed`, is missing.
        """
        if self.store.has(key):
            return False
        return self.store.header(key) is None or any(
            not self.store.has(self.lineage.scored(longer, task))
            for longer in [path, *self.paths[: self.stages_needed]]
            if longer[: len(path)] == path
            for task in self.lineage.scored_tasks(longer)
        )

    @functools.cached_property
    def store_keys(self) -> frozenset[str]:
        """Keys of all the artefacts that the trial needs; the tasks must have been embedded."""
        paths = [(), *self.paths]
        kept = itertools.chain.from_iterable(map(self.lineage.kept, paths))
        pairs = [*kept, *self.lineage.embeddings()]
        scores = (
            self.lineage.scored(p, task) for p in paths for task in self.lineage.scored_tasks(p)
        )
        return frozenset([*map(self.key, paths), *(key for _, key in pairs), *scores])

    def embed_tasks(self) -> None:
        """Embed the tasks if the strategy compares them: keys of stages then depend on the result."""
        if not self._unembedded():
            return
        base = self.lineage.base
        context, seed = self.lineage.context(()), self.fingerprints.seed
        start = StageJob(self.config_values, base, base, base, 0, context, seed=seed)
        with self.store.lease(f"embeddings-{base}") as lease:
            self._embedding_wait += lease.waited
            if lacking := self._unembedded():  # whoever held the lease may have made them
                self._embedding_seconds |= self.runner.run(
                    dataclasses.replace(start, embed=lacking)
                )

    def _unembedded(self) -> tuple[tuple[str, str], ...]:
        """Return (task, key) of the embeddings that the store lacks; damaged ones are set aside."""
        return tuple(pair for pair in self.lineage.embeddings() if not self.store.check(pair[1]))

    def _make(self, path: StagePath) -> None:
        """Make the stage at `path`, or take it from the store, and add it to the outcome.

        While another trial holds its lease, make other stages that are ready; if there is none, wait.
        """
        work, waited = self._ahead.pop(path, None) or self._try_stage(path), 0.0
        while work is None:
            if not self._go_ahead(path):
                ready, since = self.runner.ready(), time.monotonic()
                time.sleep(POLL_SECONDS)
                # A lane that still starts could not have worked: that time is not counted as waiting.
                waited += time.monotonic() - since if ready else 0.0
            work = self._try_stage(path)
        seconds = work.seconds
        if not path:
            seconds = {**self._embedding_seconds, **seconds}
            waited += self._embedding_wait
        self.outcome.add(path, Work(work.trained, seconds, waited))

    def _try_stage(self, path: StagePath) -> Work | None:
        """Make what the store lacks of a stage; return None if another trial is making it or its inputs."""
        self._raise_if_diverged(path)
        job = self.job(path)
        if job.empty:
            return Work(trained=False, seconds={})
        if not self._restore_inputs(path):
            return None
        try:
            with self.store.lease(job.key, patience=0.0):
                self._raise_if_diverged(path)
                job = self.job(path)  # whoever held the lease may have made it
                seconds = {} if job.empty else dict(self.runner.run(job))
                return Work(job.train, seconds)
        except HeldError:
            return None

    def _restore_inputs(self, path: StagePath) -> bool:
        """Check the tensors that a path's last stage reads, and make damaged ones of earlier stages again.

        Damaged tensors of the last stage itself are only set aside: its job, which comes next, makes them.
        Returns False if another trial is making one of the earlier stages.
        """
        for earlier in (path[:i] for i in range(len(path) + 1)):
            kept = [key for _, key in self.lineage.kept(earlier)]
            # The weights before any stage have no record unless there are initial tasks.
            keys = [key for key in (self.key(earlier), *kept) if self.store.has(key)]
            sound = all([self.store.check(key) for key in keys])
            if not sound and earlier != path and not self._try_stage(earlier):
                return False
        return True

    def _raise_if_diverged(self, path: StagePath) -> None:
        """Raise `DivergedError` if the stage has diverged before, in this trial or another."""
        record = self.store.header(self.key(path))
        if isinstance(record, DivergedRecord):
            raise DivergedError(record.message)

    def _go_ahead(self, wanted: StagePath) -> bool:
        """Make one later stage whose parent is made; return False if there is none."""
        done_or_ahead = {*self.scores, *self._ahead}
        if not self.panel.first and not self.lineage.kept(()):
            # The empty path then has scores alone, and no stage starts from them.
            done_or_ahead.add(())
        for path in self.paths:
            if path in done_or_ahead or path == wanted or path[:-1] not in done_or_ahead:
                continue
            if work := self._try_stage(path):
                self._ahead[path] = work  # reported in its turn: trials are compared stage by stage
                done_or_ahead.add(path)
                if work.seconds:  # it was made, and not only found in the store
                    return True
        return False

    def costs_ahead(self) -> list[StageCost]:
        """Return the costs of the stages made before their turn, which are not reported yet."""
        return [self.outcome.cost(path, work) for path, work in self._ahead.items() if work.seconds]

    def record(
        self,
        name: str,
        state: State,
        message: str = "",
        trained_earlier: Mapping[str, StageCost] = MappingProxyType({}),
    ) -> TrialRecord:
        """Return the trial's record.

        `trained_earlier`: by key, the stages that this trial trained before an interruption. They come from
        the store now, but count as its own work.
        """
        outcome, cells = self.outcome, tuple(self.outcome.cells())
        return TrialRecord(
            name=name,
            state=state,
            message=message,
            config=self.config_values,
            metrics={k: None if v != v else v for k, v in outcome.metrics().items()},
            matrices=tuple(outcome.matrices()),
            extra_matrices=outcome.extra_matrices(),
            cells=cells,
            keys=tuple(sorted(self.store_keys | {cell.key for cell in cells})),
            before=outcome.before,
            stages=tuple(stage.credited(trained_earlier) for stage in outcome.stages),
            ahead=tuple(self.costs_ahead()),
            seen_scores=tuple(outcome.seen_scores()),
            stages_done=self.stages_done,
            stages_total=self.panel.stages,
            panel=self.panel,
        )
