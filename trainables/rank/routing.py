"""Scoring of several experts: each example is answered by the expert retrieved for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trainables.config import TrialConfig
from trainables.rank.engine import set_weights
from trainables.rank.evaluate import generate_answers, score_record
from trainables.rank.rank_context import RankContext
from trainables.stage_job import StageJob, in_order
from trainables.store.records import ScoreRecord


class Routing:
    """The experts after a stage, and their answers; the rank's engine must be open."""

    def __init__(self, context: RankContext, job: StageJob, config: TrialConfig) -> None:
        self.context, self.job, self.experts = context, job, in_order(job.experts)
        self.strategy, self.zero = config.fresh_strategy(), config.training.zero
        self.expert_of: Mapping[str, int] = {
            task: number for number, expert in enumerate(self.experts) for task in expert.tasks
        }
        kept = {task: key for e in self.experts for task, key in zip(e.tasks, e.kept, strict=True)}
        self.tasks = list(kept)
        self.kept = [context.store.tensors(key) for key in kept.values()]
        self.retrieved: dict[tuple[str, str], list[int]] = {}
        """Number of the expert that answers each example, for each (task, split) scored."""
        self._answers: dict[tuple[str, str], dict[int, str]] = {}
        """Answers by row, for each (key of an expert, task)."""
        for task, key in job.answered:
            record = context.store.get(key)
            earlier = record.predictions if isinstance(record, ScoreRecord) else ()
            for row, prediction in enumerate(earlier):
                for expert, text in prediction.get("by", {}).items():
                    self._answers.setdefault((expert, task), {})[row] = text

    def score(self, task: str, split: str) -> dict[str, Any]:
        """Return the fields of a `ScoreRecord`, with the answers of each expert that was asked.

        For a task that has an expert they include retrieval accuracy and oracle score: `RETRIEVAL` in
        `trainables/metrics/glossary.py`.
        """
        known = task in self.expert_of
        queries = self.context.embedder.queries(task, split)
        owner = self.tasks.index(task) if known else None
        retrieved = self.strategy.route(queries, self.kept, owner)
        experts = [self.expert_of[self.tasks[number]] for number in retrieved]
        self.retrieved[task, split] = experts
        texts = self._retrieved_answers(task, split, experts)
        retrieval = self._retrieval(task, split, experts, texts) if known else {}
        record = score_record(self.context.benchmark.tasks[task], split, texts)
        for row, prediction in enumerate(record["predictions"]):
            prediction["by"] = {
                expert.key: answers[row]
                for expert in self.experts
                if row in (answers := self._answers.get((expert.key, task), {}))
            }
        return record | retrieval

    def rows_by_key(self, task: str, split: str) -> dict[str, list[int]]:
        """Return the rows of a scored split by the key of the weights that answered them."""
        rows: dict[str, list[int]] = {}
        for row, number in enumerate(self.retrieved[task, split]):
            rows.setdefault(self.experts[number].key, []).append(row)
        return rows

    def _retrieval(
        self, task: str, split: str, experts: Sequence[int], texts: Sequence[str]
    ) -> dict[str, float | None]:
        """Return the share of examples routed to the task's own expert, and that expert's score on all."""
        own = self.expert_of[task]
        missed = [row for row, number in enumerate(experts) if number != own]
        own_texts = dict(enumerate(texts))
        own_texts |= zip(missed, self._expert_answers(own, task, split, missed), strict=True)
        oracle = score_record(self.context.benchmark.tasks[task], split, list(own_texts.values()))
        accuracy = 1 - len(missed) / len(experts)
        return {"retrieval_accuracy": accuracy, "oracle_score": oracle["score"]}

    def _retrieved_answers(self, task: str, split: str, experts: Sequence[int]) -> list[str]:
        """Answer each example of a split by the expert of its row in `experts`."""
        texts: dict[int, str] = {}
        for number in sorted(set(experts)):
            rows = [row for row, expert in enumerate(experts) if expert == number]
            texts |= zip(rows, self._expert_answers(number, task, split, rows), strict=True)
        return [texts[row] for row in range(len(experts))]

    def _expert_answers(self, number: int, task: str, split: str, rows: Sequence[int]) -> list[str]:
        """Answer some rows by one expert; rows that it has answered before are not generated again."""
        context, key = self.context, self.experts[number].key
        answers = self._answers.setdefault((key, task), {})
        if new := [row for row in rows if row not in answers]:
            set_weights(context.lmm, context.weights(key, self.job))
            texts = generate_answers(context.lmm, context.data, task, split, self.zero, new)
            answers |= zip(new, texts, strict=True)
        return [answers[row] for row in rows]
