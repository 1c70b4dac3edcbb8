"""One trial without Ray: a configuration walked through the prefix tree of a panel of orderings."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tasks import BESIDE
from trainables.config import TrialConfig
from trainables.job import Setting, StageJob, base_key, kept_key, scored_key, trained_key
from trainables.scores import ScoreMatrix, summary
from trainables.stages import StageStore

Prefix = tuple[tuple[str, ...], ...]
"""The tasks trained at each stage so far; the empty path is the model before any stage."""

SCORING = {
    "seen": "after each stage, the tasks seen so far",
    "next": "the tasks seen so far and the next one, which forward_transfer needs",
    "all": "all tasks of the panel after each stage",
}


class Runner(Protocol):
    """Who makes a stage: a lane of Ray Train workers, or this very process."""

    def run(self, job: StageJob) -> Mapping[str, float]:
        """Make what `job` asks for; returns the seconds that each part took."""
        ...


@dataclass(frozen=True)
class Panel:
    """The orderings that every trial is walked through, and which cells of their matrices are scored."""

    orderings: tuple[tuple[str, ...], ...]
    scoring: str = "seen"
    split: str = "validation"

    @property
    def tasks(self) -> tuple[str, ...]:
        """All tasks of the panel, sorted."""
        return tuple(sorted({task for ordering in self.orderings for task in ordering}))

    def paths(self, config: TrialConfig) -> list[Prefix]:
        """The distinct stages of a configuration, as paths from the start, each after its parent."""
        paths: dict[Prefix, None] = {}
        for ordering in self.orderings:
            curriculum = config.strategy.curriculum(ordering)
            for stage in range(1, len(curriculum) + 1):
                paths[curriculum[:stage]] = None
        return list(paths)

    def cells(self, config: TrialConfig, path: Prefix) -> list[str]:
        """The tasks scored after `path`."""
        if not path or self.scoring == "all":
            return list(self.tasks)
        cells = [task for group in path for task in group]
        if self.scoring == "next":
            longer = [p for p in self.paths(config) if len(p) > len(path)]
            cells += [t for p in longer if p[: len(path)] == path for t in p[len(path)]]
        return list(dict.fromkeys(cells))


@dataclass
class Walk:
    """A configuration on its way through the panel; `step` makes one stage."""

    config: TrialConfig
    panel: Panel
    setting: Setting
    store: StageStore
    runner: Runner
    done: int = 0
    scores: dict[Prefix, dict[str, float]] = field(default_factory=dict)
    beside: dict[str, dict[Prefix, dict[str, float]]] = field(default_factory=dict)
    """What stands beside the scores, by name (`tasks.BESIDE`); NaN where a task has none."""
    stages: list[dict[str, Any]] = field(default_factory=list)
    rungs: list[float] = field(default_factory=list)
    """`progress` after each stage done."""

    def __post_init__(self) -> None:
        self.paths = self.panel.paths(self.config)
        self.inner = {path[:i] for path in self.paths for i in range(len(path))}

    @property
    def finished(self) -> bool:
        """Whether every stage of the panel is done."""
        return self.done == len(self.paths)

    def step(self) -> None:
        """Make the next stage of the panel, or take from the store what is there of it."""
        if self.done == 0:
            self._make(())
        self._make(self.paths[self.done])
        self.done += 1
        self.rungs.append(self.progress())

    def key(self, path: Prefix) -> str:
        """The key of a path's weights."""
        key = base_key(self.setting, self.config)
        for stage, tasks in enumerate(path, start=1):
            key = trained_key(self.setting, self.config, key, tasks, stage)
        return key

    def job(self, path: Prefix) -> StageJob:
        """What is still to be made of a path's last stage."""
        key, stage, split = self.key(path), len(path), self.panel.split
        cells = [
            (task, split, scored_key(self.setting, key, task, split))
            for task in self.panel.cells(self.config, path)
        ]
        kept = kept_key(self.config, key) if path and path in self.inner else None
        before = [kept_key(self.config, self.key(path[:i])) for i in range(1, stage)]
        return StageJob(
            config=self.config.to_dict(),
            key=key,
            parent=self.key(path[:-1]),
            tasks=path[-1] if path else (),
            old=tuple(task for group in path[:-1] for task in group),
            stage=stage,
            kept=tuple(k for k in before if k),
            train=bool(path) and not self.store.has(key),
            score=tuple(cell for cell in cells if not self.store.has(cell[2])),
            keep=kept if kept and not self.store.has(kept) else None,
        )

    def _make(self, path: Prefix) -> None:
        job, waited, seconds = self.job(path), 0.0, {}
        trained = job.train
        if not job.empty:
            with self.store.lease(job.key) as lease:
                waited = lease.waited
                job = self.job(path)  # whoever held the lease may have made it
                trained = job.train
                if not job.empty:
                    seconds = dict(self.runner.run(job))
        self._take(path, {"trained": trained, "waited": waited, "seconds": seconds})

    def _take(self, path: Prefix, made: dict[str, Any]) -> None:
        key, split = self.key(path), self.panel.split
        self.scores[path] = {}
        for task in self.panel.cells(self.config, path):
            record = self.store.get(scored_key(self.setting, key, task, split))
            assert record is not None, f"no score of {task} after {path}"
            self.scores[path][task] = record["score"]
            for name in BESIDE:
                cells = self.beside.setdefault(name, {}).setdefault(path, {})
                value = record.get(name)
                cells[task] = float("nan") if value is None else value
        if path:
            record = self.store.get(key) or {}
            cost = record.get("seconds", 0.0)
            self.stages.append({"tasks": path, "key": key, "train_seconds": cost} | made)

    # What came of it ---------------------------------------------------------------------------

    def matrices(self, beside: str = "") -> list[ScoreMatrix]:
        """One score matrix for each ordering, or one of what is beside; stages not made yet are NaN."""
        cells = self.beside.get(beside, {}) if beside else self.scores
        made = []
        for ordering in self.panel.orderings:
            rows = {row: cells.get(path, {}) for row, path in self._rows(ordering).items()}
            # Orderings may differ in their tasks, and the first row scores those of all.
            own = {n: {t: s for t, s in row.items() if t in ordering} for n, row in rows.items()}
            made.append(ScoreMatrix.from_rows(ordering, own))
        return made

    def records(self) -> list[dict[str, Any]]:
        """Where the answers behind each cell are: the key of its record in the store."""
        split = self.panel.split
        return [
            {"ordering": number, "stage": row, "task": task, "split": split}
            | {"key": scored_key(self.setting, self.key(path), task, split)}
            for number, ordering in enumerate(self.panel.orderings, start=1)
            for row, path in self._rows(ordering).items()
            for task in self.scores.get(path, {})
            if task in ordering
        ]

    def _rows(self, ordering: Sequence[str]) -> dict[int, Prefix]:
        """The rows of an ordering's matrix, and the path that fills each."""
        curriculum = self.config.strategy.curriculum(ordering)
        # Joint tuning has one stage: it stands where the sequence ends.
        late = len(ordering) - len(curriculum)
        stages = range(1, len(curriculum) + 1)
        return {0: ()} | {late + stage: curriculum[:stage] for stage in stages}

    def metrics(self) -> dict[str, float]:
        """Every metric, averaged over the orderings that are whole; NaN before the first one is."""
        whole = [
            m for m, o in zip(self.matrices(), self.panel.orderings, strict=True) if self._whole(o)
        ]
        each = [summary(m) for m in whole]
        metrics = {
            name: statistics.fmean(s[name] for s in each) if each else float("nan")
            for name in summary(self.matrices()[0])
        }
        finals = [s["final_average"] for s in each]
        metrics["final_average_std"] = statistics.stdev(finals) if len(finals) > 1 else 0.0
        metrics["worst_ordering"] = min(finals, default=float("nan"))
        metrics["train_seconds"] = sum(s["train_seconds"] for s in self.stages)
        return metrics

    def progress(self) -> float:
        """The rung score: mean score of the tasks seen, over the stages done (of all orderings)."""
        means = [
            statistics.fmean(self.scores[path][task] for group in path for task in group)
            for path in self.paths[: self.done]
        ]
        return statistics.fmean(means) if means else 0.0

    def _whole(self, ordering: Sequence[str]) -> bool:
        return self.config.strategy.curriculum(ordering) in self.paths[: self.done]
