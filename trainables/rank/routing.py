"""Scoring where a strategy holds several experts: each example is answered by the one retrieved for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trainables.config import TrialConfig
from trainables.rank.engine import set_weights
from trainables.rank.evaluate import generate_answers, score_record
from trainables.stage_job import StageJob, in_order

if TYPE_CHECKING:
    from trainables.rank.worker import Worker


class Routing:
    """The experts after a stage, for a worker whose engine is open."""

    def __init__(self, worker: Worker, job: StageJob, config: TrialConfig) -> None:
        self.worker, self.job, self.experts = worker, job, in_order(job.experts)
        self.strategy = config.fresh_strategy()
        self.owners: Mapping[str, int] = {
            task: number for number, expert in enumerate(self.experts) for task in expert.tasks
        }
        kept = {task: key for e in self.experts for task, key in zip(e.tasks, e.kept, strict=True)}
        self.tasks = list(kept)
        self.kept = [worker.store.tensors(key) for key in kept.values()]
        self._known: dict[tuple[str, str], dict[int, str]] = {}
        for task, key in job.answered:
            record = worker.store.get(key) or {}
            for row, said in enumerate(record.get("predictions", ())):
                for expert, text in said.get("by", {}).items():
                    self._known.setdefault((expert, task), {})[row] = text

    def scored(self, task: str, split: str, zero: int) -> dict[str, Any]:
        """The record of a score, with `RETRIEVAL` beside it and what each expert was heard to say.

        `RETRIEVAL` is unknown of a task that has no expert yet.
        """
        texts, beside = self._answers(task, split, zero)
        record = score_record(self.worker.benchmark.tasks[task], split, texts)
        for row, said in enumerate(record["predictions"]):
            said["by"] = {
                expert.key: known[row]
                for expert in self.experts
                if row in (known := self._known.get((expert.key, task), {}))
            }
        return record | beside

    def _answers(
        self, task: str, split: str, zero: int
    ) -> tuple[list[str], dict[str, float | None]]:
        place = self.tasks.index(task) if task in self.owners else None
        queries = self.worker.embedder.queries(task, split)
        found = self.strategy.route(queries, self.kept, place)
        chosen = [self.owners[self.tasks[number]] for number in found]
        retrieved = self._answered(task, split, zero, chosen)
        if place is None:
            return retrieved, {}
        own = self.owners[task]
        missed = [row for row, number in enumerate(chosen) if number != own]
        ideal = dict(enumerate(retrieved))
        ideal |= zip(missed, self._by(own, task, split, zero, missed), strict=True)
        oracle = score_record(self.worker.benchmark.tasks[task], split, list(ideal.values()))[
            "score"
        ]
        accuracy = 1 - len(missed) / len(chosen)
        return retrieved, {"retrieval_accuracy": accuracy, "oracle_score": oracle}

    def _answered(self, task: str, split: str, zero: int, chosen: Sequence[int]) -> list[str]:
        said: dict[int, str] = {}
        for number in sorted(set(chosen)):
            rows = [row for row, expert in enumerate(chosen) if expert == number]
            said |= zip(rows, self._by(number, task, split, zero, rows), strict=True)
        return [said[row] for row in range(len(chosen))]

    def _by(self, number: int, task: str, split: str, zero: int, rows: Sequence[int]) -> list[str]:
        """One expert's answers to some rows; it is asked for those that it has not given before."""
        worker, key = self.worker, self.experts[number].key
        known = self._known.setdefault((key, task), {})
        if new := [row for row in rows if row not in known]:
            set_weights(worker.lmm, worker.weights(key, self.job))
            known |= zip(
                new, generate_answers(worker.lmm, worker.data, task, split, zero, new), strict=True
            )
        return [known[row] for row in rows]
