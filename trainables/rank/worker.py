"""The stages of one DeepSpeed rank, in a lane or in-process: embed, train, score, consolidate.

A trained stage is scored inside the training engine, then consolidated. With experts, or when nothing is
trained, scoring comes last.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from spaces.errors import InputError
from strategies import Strategy, Tensors
from trainables.config import TrialConfig
from trainables.rank.batching import Batch, batches
from trainables.rank.consolidation import StageLearner
from trainables.rank.engine import Engine, open_engine
from trainables.rank.evaluate import generate_answers, score_record
from trainables.rank.general_kl import mean_kl
from trainables.rank.loop import Loop
from trainables.rank.rank_context import RankContext
from trainables.rank.routing import Routing
from trainables.stage_job import DivergedError, StageJob, WorkerSpec
from trainables.store.digest import stage_seed
from trainables.store.records import (
    ByProductRecord,
    DivergedRecord,
    EmbeddingRecord,
    KeptRecord,
    ScoreRecord,
    TrainedRecord,
)
from trainables.store.stage_store import LazyTensors


class Worker:
    """One rank, which loads the model once and runs the stages of one trial after another."""

    def __init__(self, spec: WorkerSpec) -> None:
        torch.set_num_threads(spec.threads)
        self.rank_context = RankContext(spec)

    def run(self, job: StageJob) -> dict[str, float]:
        """Make and publish the artefacts that the job names; return the seconds by part of the work.

        The parts are "embed", "train", "keep" (consolidation) and "score". "cached" are the seconds of the
        vision tower that cached features saved.
        """
        rank_context, config, seconds = self.rank_context, TrialConfig.from_dict(job.config), {}
        if job.embed:
            seconds["embed"] = self._embed(job, config)
        if not (job.train or job.to_consolidate or job.score):
            return seconds
        rank_context.adapt(config, job.seed)
        training, workers, data = config.training, rank_context.workers, rank_context.data
        embedded_before, examples_read = data.images_embedded, self._count_scored(job)
        scores_in_training_engine = job.train and not job.experts
        if job.train:
            strategy, start = config.fresh_strategy(), rank_context.weights(job.parent, job)
            stage_batches = self._stage_batches(job, config, strategy, start)
            examples_read += sum(map(len, stage_batches))
            with open_engine(
                rank_context.lmm, training, workers, start, len(stage_batches)
            ) as engine:
                seconds["train"] = self._train(engine, stage_batches, config, strategy, start, job)
                if scores_in_training_engine:
                    seconds |= self._score(job, config)
        if job.to_consolidate:
            seconds["keep"] = self._consolidate(job, config)
        if job.score and not scores_in_training_engine:
            weights = rank_context.weights(job.key, job)
            with open_engine(rank_context.lmm, training, workers, weights, 0):
                seconds |= self._score(job, config)
        if rank_context.lmm.tower is not None:
            cached = examples_read // workers - (data.images_embedded - embedded_before)
            seconds["cached"] = max(0, cached) * data.seconds_per_example
        return seconds

    def _count_scored(self, job: StageJob) -> int:
        """Count the examples that all ranks together score."""
        return sum(
            len(self.rank_context.data.examples(task, split)) for task, split, _ in job.score
        )

    # Train -------------------------------------------------------------------------------------

    def _stage_batches(
        self, job: StageJob, config: TrialConfig, strategy: Strategy, start: Tensors
    ) -> list[Batch]:
        """Prepare the strategy for the stage; return the stage's batches, replayed examples included."""
        data, training = self.rank_context.data, config.training
        strategy.prepare(start, LazyTensors(self.rank_context.store, job.kept_before), job.context)
        new, old = data.sizes(job.tasks), data.sizes(job.context.old)
        picks = [(task, row) for task, size in new.items() for row in range(size)]
        picks = strategy.mix(picks, old, data.shuffled)
        lengths = data.lengths(picks) if training.grouped else None
        replayed = strategy.replayed_per_batch(training.batch_size)
        mixed = dataclasses.replace(training, batch_size=training.batch_size - replayed)
        return [
            batch + strategy.replay_batch(step, replayed) if replayed else batch
            for step, batch in enumerate(batches(picks, mixed, self._seed(job), lengths))
        ]

    def _seed(self, job: StageJob) -> int:
        return stage_seed(job.seed, job.tasks, job.depth)

    def _train(
        self,
        engine: Engine,
        stage_batches: Sequence[Batch],
        config: TrialConfig,
        strategy: Strategy,
        start: Tensors,
        job: StageJob,
    ) -> float:
        """Train and publish the weights; return the seconds of training."""
        timer, rank_context = Timer(), self.rank_context
        torch.manual_seed(self._seed(job) + rank_context.rank)
        loop = Loop(rank_context, engine, config, strategy)
        losses, cost = loop.train(stage_batches, start), timer.cost()
        old = [pick for pick in loop.gradient_examples if pick[0] in job.context.old]
        memory = rank_context.data.memory_size(old) if rank_context.rank == 0 else {}
        weights, costs = engine.weights(), {"memory": memory, **cost}
        self._check_finite(job, engine, losses, weights, costs)
        self._publish_weights(job, config, losses, weights, costs)
        if job.by_product:
            record = ByProductRecord(strategy=strategy.name, of=job.key)
            rank_context.publish(job.by_product, record, strategy.by_products(weights))
        return cost["seconds"]

    def _check_finite(
        self,
        job: StageJob,
        engine: Engine,
        losses: Sequence[float],
        weights: Tensors,
        costs: Mapping[str, Any],
    ) -> None:
        """Publish that the stage diverged, and raise `DivergedError`, unless all numbers are finite."""
        finite = all(bool(torch.isfinite(w).all()) for w in weights.values())
        if engine.skipped or not finite or not all(map(math.isfinite, losses)):
            message = (
                f"stage {job.depth} on {'+'.join(job.tasks)} diverged: its losses, gradients and weights "
                "must be finite; a lower learning_rate or strength would do"
            )
            self.rank_context.publish(job.key, DivergedRecord(message=message, **costs))
            raise DivergedError(message)

    def _publish_weights(
        self,
        job: StageJob,
        config: TrialConfig,
        losses: Sequence[float],
        weights: Tensors,
        costs: Mapping[str, Any],
    ) -> None:
        strategy_fields: dict[str, Any] = {}
        if config.strategy.effective(job.context):
            # Old tasks are recorded only where the strategy acts: otherwise trials with other old tasks
            # share this record.
            similarity = dict(job.context.similarity)
            strategy_fields = {"old": job.context.old, "similarity": similarity}
        record = TrainedRecord(
            tasks=job.tasks,
            stage=job.depth,
            parent=job.parent,
            steps=len(losses),
            first_loss=losses[0],
            last_loss=losses[-1],
            parameters=sum(w.numel() for w in weights.values()),
            **costs,
            **strategy_fields,
        )
        self.rank_context.publish(job.key, record, weights)

    # Consolidate, score, embed -----------------------------------------------------------------

    def _consolidate(self, job: StageJob, config: TrialConfig) -> float:
        """Publish the tensors that the strategy keeps of each task; return the seconds spent.

        The strategy's instance is always a fresh one, as if another trial had trained the stage.
        """
        timer, rank_context = Timer(), self.rank_context
        strategy, weights = config.fresh_strategy(), rank_context.weights(job.key, job)
        by_products = rank_context.store.tensors(job.by_product) if job.by_product else {}
        for task, key in job.to_consolidate:
            task_timer = Timer()
            # Another trial may have trained or scored the stage, so earlier draws must not matter.
            torch.manual_seed(self._seed(job) + rank_context.rank)
            learner = StageLearner(rank_context, config, weights, by_products)
            try:
                kept = strategy.consolidate(learner, task, rank_context.data.sizes([task])[task])
            except AttributeError as error:
                if isinstance(error.obj, Strategy):
                    raise _training_state_error(error) from error
                raise
            count = sum(value.numel() for value in strategy.routing_tensors(kept).values())
            record = KeptRecord(
                strategy=strategy.name,
                of=job.key,
                task=task,
                parameters=count,
                **task_timer.cost(),
            )
            rank_context.publish(key, record, kept)
        return timer.seconds

    def _score(self, job: StageJob, config: TrialConfig) -> dict[str, float]:
        """Score the tasks with the weights of the open engine; publish each score from rank 0."""
        timer, rank_context = Timer(), self.rank_context
        routing = Routing(rank_context, job, config) if job.experts else None
        # Trials that freeze a Q-Former and trials that train it share the scores of the untrained model.
        # So both compute its output here: cached outputs may differ in the last bits.
        rank_context.lmm.recompute_queries = job.key == job.base and not routing
        for task, split, key in job.score:
            task_timer, zero = Timer(), config.training.zero
            if routing:
                record = routing.score(task, split)
            else:
                texts = generate_answers(rank_context.lmm, rank_context.data, task, split, zero)
                record = score_record(rank_context.benchmark.tasks[task], split, texts)
            if task in job.general:
                rows = range(len(rank_context.data.examples(task, split)))
                answering = routing.rows_by_key(task, split) if routing else {job.key: rows}
                record["general_kl"] = mean_kl(rank_context, job, task, split, answering)
            if rank_context.rank == 0:
                rank_context.store.put(key, ScoreRecord(**record, **task_timer.cost()))
        rank_context.lmm.recompute_queries = False
        return {"score": timer.seconds} if job.score else {}

    def _embed(self, job: StageJob, config: TrialConfig) -> float:
        """Publish task embeddings by the pretrained vision tower; return the seconds spent."""
        timer, rank_context = Timer(), self.rank_context
        rank_context.load(config)
        if rank_context.lmm.tower is None:  # an earlier trial trained the tower: restore it
            frozen = dataclasses.replace(config.adapter, parts="projection")
            rank_context.adapt(dataclasses.replace(config, adapter=frozen), job.seed)
        for task, key in job.embed:
            task_timer = Timer()
            embedding = dict(rank_context.embedder.embed_task(task))
            record = EmbeddingRecord(task=task, **task_timer.cost())
            rank_context.publish(key, record, embedding)
        return timer.seconds


def _training_state_error(error: AttributeError) -> InputError:
    """Explain to a strategy's author why `consolidate` must not read state that training sets."""
    return InputError(
        "`consolidate` must read knobs and the learner alone, got "
        f"{type(error.obj).__name__}.{error.name}, which training sets; "
        "returning it from `by_products`, with has_by_products = True, would do"
    )


class Timer:
    """Wall-clock and processor seconds of this process since the timer was made."""

    def __init__(self) -> None:
        self._clock, self._cpu = time.perf_counter(), time.process_time()

    @property
    def seconds(self) -> float:
        """Wall-clock seconds."""
        return time.perf_counter() - self._clock

    def cost(self) -> dict[str, Any]:
        """Return wall-clock and processor seconds as the fields of a record."""
        return {"seconds": self.seconds, "cpu_seconds": time.process_time() - self._cpu}
