"""The stages of one DeepSpeed rank, in a lane or in-process: embed, train, consolidate, score."""

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
    """One rank. It loads the model once and serves stage after stage, of whatever trial."""

    def __init__(self, spec: WorkerSpec) -> None:
        torch.set_num_threads(spec.threads)
        self.context = RankContext(spec)

    def run(self, job: StageJob) -> dict[str, float]:
        """Produce and publish the parts that the job names; return the seconds of each part.

        "unlooked" are the seconds of the vision tower that cached features saved.
        """
        context, config, seconds = self.context, TrialConfig.from_dict(job.config), {}
        if job.embed:
            seconds["embed"] = self._embed(job, config)
        if not (job.train or job.keep or job.score):
            return seconds
        context.adapt(config)
        training, workers, data = config.training, context.workers, context.data
        embedded, used = data.images_embedded, self._count_scored(job)
        scores_in_training = job.train and not job.experts
        if job.train:
            strategy, start = config.fresh_strategy(), context.weights(job.parent, job)
            plan = self._plan(job, config, strategy, start)
            used += sum(map(len, plan))
            with open_engine(context.lmm, training, workers, start, len(plan)) as engine:
                seconds["train"] = self._train(engine, plan, config, strategy, start, job)
                if scores_in_training:
                    seconds |= self._score(job, config)
        if job.keep:
            seconds["keep"] = self._consolidate(job, config)
        if job.score and not scores_in_training:
            weights = context.weights(job.key, job)
            with open_engine(context.lmm, training, workers, weights, 0):
                seconds |= self._score(job, config)
        if context.lmm.tower is not None:
            cached = used // workers - (data.images_embedded - embedded)
            seconds["unlooked"] = max(0, cached) * data.seconds_per_example
        return seconds

    def _count_scored(self, job: StageJob) -> int:
        """Count the examples that all ranks together score."""
        return sum(len(self.context.data.examples(task, split)) for task, split, _ in job.score)

    # Train -------------------------------------------------------------------------------------

    def _plan(
        self, job: StageJob, config: TrialConfig, strategy: Strategy, start: Tensors
    ) -> list[Batch]:
        """Prepare the strategy for the stage and return the stage's batches."""
        data, training = self.context.data, config.training
        strategy.prepare(start, LazyTensors(self.context.store, job.kept), job.context)
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
        return stage_seed(self.context.spec.seed, job.tasks, job.stage)

    def _train(
        self,
        engine: Engine,
        plan: Sequence[Batch],
        config: TrialConfig,
        strategy: Strategy,
        start: Tensors,
        job: StageJob,
    ) -> float:
        """Train and publish the weights; return the seconds of training."""
        timer, context = Timer(), self.context
        torch.manual_seed(self._seed(job) + context.rank)
        loop = Loop(context, engine, config, strategy)
        losses, cost = loop.train(plan, start), timer.cost()
        old = [pick for pick in loop.trained_on if pick[0] in job.context.old]
        memory = context.data.memory_size(old) if context.rank == 0 else {}
        weights, about = engine.weights(), {"memory": memory, **cost}
        self._check_finite(job, engine, losses, weights, about)
        self._publish_weights(job, config, losses, weights, about)
        if job.by_product:
            record = ByProductRecord(strategy=strategy.name, of=job.key)
            context.publish(job.by_product, record, strategy.by_products(weights))
        return cost["seconds"]

    def _check_finite(
        self,
        job: StageJob,
        engine: Engine,
        losses: Sequence[float],
        weights: Tensors,
        about: Mapping[str, Any],
    ) -> None:
        """Publish that the stage diverged and raise `DivergedError` unless all numbers are finite."""
        finite = all(bool(torch.isfinite(w).all()) for w in weights.values())
        if engine.skipped or not finite or not all(map(math.isfinite, losses)):
            message = (
                f"stage {job.stage} on {'+'.join(job.tasks)} diverged: its losses, gradients and weights "
                "must be finite; a lower learning_rate or strength would do"
            )
            self.context.publish(job.key, DivergedRecord(message=message, **about))
            raise DivergedError(message)

    def _publish_weights(
        self,
        job: StageJob,
        config: TrialConfig,
        losses: Sequence[float],
        weights: Tensors,
        about: Mapping[str, Any],
    ) -> None:
        if config.strategy.effective(job.context):
            # Only then do the old tasks name the stage; otherwise trials with other old tasks share it.
            similarity = dict(job.context.similarity)
            about = {**about, "old": job.context.old, "similarity": similarity}
        record = TrainedRecord(
            tasks=job.tasks,
            stage=job.stage,
            parent=job.parent,
            steps=len(losses),
            first_loss=losses[0],
            last_loss=losses[-1],
            parameters=sum(w.numel() for w in weights.values()),
            **about,
        )
        self.context.publish(job.key, record, weights)

    # Consolidate, score, embed -----------------------------------------------------------------

    def _consolidate(self, job: StageJob, config: TrialConfig) -> float:
        """Publish what the strategy consolidates of each task; return the seconds of it.

        The instance is a fresh one, as if another trial had trained the stage.
        """
        timer, context = Timer(), self.context
        strategy, weights = config.fresh_strategy(), context.weights(job.key, job)
        by_products = context.store.tensors(job.by_product) if job.by_product else {}
        for task, key in job.keep:
            task_timer = Timer()
            # Seeded again for dropout: training and scoring may or may not have drawn numbers before.
            torch.manual_seed(self._seed(job) + context.rank)
            learner = StageLearner(context, config, weights, by_products)
            try:
                kept = strategy.consolidate(learner, task, context.data.sizes([task])[task])
            except AttributeError as error:
                if isinstance(error.obj, Strategy):
                    raise _state_of_training(error) from error
                raise
            count = sum(value.numel() for value in strategy.routing_tensors(kept).values())
            record = KeptRecord(
                strategy=strategy.name,
                of=job.key,
                task=task,
                parameters=count,
                **task_timer.cost(),
            )
            context.publish(key, record, kept)
        return timer.seconds

    def _score(self, job: StageJob, config: TrialConfig) -> dict[str, float]:
        """Score the tasks with the weights of the open engine; publish each score from rank 0."""
        timer, context = Timer(), self.context
        routing = Routing(context, job, config) if job.experts else None
        # Scores of the untrained model are shared by trials that freeze a Q-Former and trials that do not.
        context.lmm.recompute_queries = job.key == job.base and not routing
        for task, split, key in job.score:
            task_timer, zero = Timer(), config.training.zero
            if routing:
                record = routing.score(task, split)
            else:
                texts = generate_answers(context.lmm, context.data, task, split, zero)
                record = score_record(context.benchmark.tasks[task], split, texts)
            if context.rank == 0:
                context.store.put(key, ScoreRecord(**record, **task_timer.cost()))
        context.lmm.recompute_queries = False
        return {"score": timer.seconds} if job.score else {}

    def _embed(self, job: StageJob, config: TrialConfig) -> float:
        """Publish task embeddings by the pretrained vision tower; return the seconds of it."""
        timer, context = Timer(), self.context
        context.load(config)
        if context.lmm.tower is None:  # a trial before trained it
            frozen = dataclasses.replace(config.adapter, parts="projection")
            context.adapt(dataclasses.replace(config, adapter=frozen))
        for task, key in job.embed:
            task_timer = Timer()
            embedding = dict(context.embedder.embed_task(task))
            record = EmbeddingRecord(task=task, **task_timer.cost())
            context.publish(key, record, embedding)
        return timer.seconds


def _state_of_training(error: AttributeError) -> InputError:
    """Explain a read of state that training sets; see `Strategy.by_products`."""
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
        """Return both as the fields of a record."""
        return {"seconds": self.seconds, "cpu_seconds": time.process_time() - self._cpu}
