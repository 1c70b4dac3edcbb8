"""What each DeepSpeed rank does for a stage: train, keep, score. Runs in a lane or in-process."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import math
import time
from collections.abc import Mapping, Sequence

import torch
import torch.distributed as dist
from safetensors import SafetensorError

from models.lmm import LMM
from models.location import model_folder
from spaces.adapter import Adapter
from spaces.loading import Loading
from strategies import ExampleId, Outputs, Strategy, Tensors
from tasks import load_benchmark
from trainables.config import TrialConfig
from trainables.rank.consolidation import StageLearner
from trainables.rank.data import Batch, Data, batches
from trainables.rank.engine import Engine, open_engine
from trainables.rank.evaluate import generate_answers, score_record
from trainables.rank.features import feature_reader, idle_weights_folder
from trainables.rank.gc_policy import collect_as_usual
from trainables.rank.loop import Loop
from trainables.rank.routing import Routing
from trainables.rank.task_embeddings import TaskEmbedder
from trainables.rank.teacher import Teacher
from trainables.stage_job import DivergedError, StageJob, WorkerSpec
from trainables.store.digest import stage_seed
from trainables.store.records import DIVERGED
from trainables.store.stage_store import LazyTensors, StageStore


class Worker:
    """One rank. It loads the model once and serves stage after stage, of whatever trial."""

    def __init__(self, spec: WorkerSpec) -> None:
        torch.set_num_threads(spec.threads)
        self.spec = spec
        self.rank, self.workers = dist.get_rank(), dist.get_world_size()
        self.benchmark = load_benchmark(spec.benchmark)
        self.store = StageStore(spec.store)
        self._loaded: tuple[Loading, int, int] | None = None
        self._adapter: Adapter | None = None

    def run(self, job: StageJob) -> dict[str, float]:
        """Make what the job asks for and publish it; returns the seconds that each part took.

        "unlooked" are those that a tower would have taken that looks at every example it meets.
        """
        config, seconds = TrialConfig.from_dict(job.config), {}
        if job.embed:
            seconds["embed"] = self._embed(job, config)
        if not (job.train or job.keep or job.score):
            return seconds
        self._take_up(config)
        strategy, routed = config.fresh_strategy(), bool(job.experts)
        images_embedded, met = self.data.images_embedded, self._asked(job)
        if job.train:
            start = self.weights(job.parent, job)
            plan = self._plan(job, config, strategy, start)
            met += sum(map(len, plan))
            with open_engine(self.lmm, config.training, self.workers, start, len(plan)) as engine:
                seconds["train"] = self._train(engine, plan, config, strategy, start, job)
                if not routed:
                    seconds |= self._score(job, config)
        if job.keep:
            seconds["keep"] = self._keep(job, config, strategy)
        if job.score and (routed or not job.train):
            weights = self.weights(job.key, job)
            with open_engine(self.lmm, config.training, self.workers, weights, 0):
                seconds |= self._score(job, config)
        if self.lmm.tower is not None:
            again = met // self.workers - (self.data.images_embedded - images_embedded)
            seconds["unlooked"] = max(0, again) * self.data.pace
        return seconds

    def _asked(self, job: StageJob) -> int:
        """Examples that are scored, whichever rank answers."""
        return sum(len(self.data.examples(task, split)) for task, split, _ in job.score)

    def _plan(
        self, job: StageJob, config: TrialConfig, strategy: Strategy, start: Tensors
    ) -> list[Batch]:
        """The stage's batches, once the strategy knows where it starts and what was kept."""
        strategy.prepare(start, LazyTensors(self.store, job.kept), job.context)
        new, old = self.data.sizes(job.tasks), self.data.sizes(job.context.old)
        picks = [(task, row) for task, size in new.items() for row in range(size)]
        picks = strategy.mix(picks, old, self.data.shuffled)
        lengths = self.data.lengths(picks) if config.training.grouped else None
        seed, size = stage_seed(self.spec.seed, job.tasks, job.stage), config.training.batch_size
        replayed = strategy.replayed_per_batch(size)
        cut = dataclasses.replace(config.training, batch_size=size - replayed)
        return [
            batch + strategy.replay_batch(step, replayed) if replayed else batch
            for step, batch in enumerate(batches(picks, cut, seed, lengths))
        ]

    def _train(
        self,
        engine: Engine,
        plan: Sequence[Batch],
        config: TrialConfig,
        strategy: Strategy,
        start: Tensors,
        job: StageJob,
    ) -> float:
        """Train and publish the weights; returns the seconds that training took."""
        timer = Timer()
        torch.manual_seed(stage_seed(self.spec.seed, job.tasks, job.stage) + self.rank)
        loop = Loop(self, engine, config, strategy)
        losses, cost = loop.train(plan, start), timer.cost()
        memory = self._memory([pick for pick in loop.seen if pick[0] in job.context.old])
        self._publish_weights(job, config, engine, losses, {"memory": memory, **cost})
        return cost["seconds"]

    def outputs(self, engine: Engine, share: Batch, teacher: Teacher | None = None) -> Outputs:
        """What the model says of a micro-batch, and what it said at the stage's start."""
        logits, answers = engine.answer_logits(self.data.training(share))
        return Outputs(share, logits, answers, teacher.of(share, logits) if teacher else None)

    def answer_tokens(self, batch: Batch) -> int:
        """Of all answers of a batch."""
        return sum(len(e.answer) for e in self.data.training(batch))

    def _publish_weights(
        self,
        job: StageJob,
        config: TrialConfig,
        engine: Engine,
        losses: list[float],
        about: Mapping[str, object],
    ) -> None:
        weights = engine.weights()
        finite = all(bool(torch.isfinite(w).all()) for w in weights.values())
        if engine.skipped or not finite or not all(map(math.isfinite, losses)):
            message = (
                f"stage {job.stage} on {'+'.join(job.tasks)} diverged: its losses, gradients and weights "
                "must be finite; a lower learning_rate or strength would do"
            )
            self._publish(job.key, {"kind": DIVERGED, "message": message, **about})
            raise DivergedError(message)
        record = {
            "kind": "trained",
            "tasks": job.tasks,
            "stage": job.stage,
            "parent": job.parent,
            "steps": len(losses),
            "first_loss": losses[0],
            "last_loss": losses[-1],
            "parameters": sum(w.numel() for w in weights.values()),
            **self._before(job, config),
        }
        self._publish(job.key, {**record, **about}, weights)

    def _memory(self, picks: Sequence[ExampleId]) -> dict[str, int]:
        """How many old examples the stage saw, and their bytes; of no interest to other ranks."""
        return self.data.memory_size(picks) if self.rank == 0 else {}

    def _before(self, job: StageJob, config: TrialConfig) -> dict[str, object]:
        """The old tasks and their similarity, where they had part in it: else others share the stage."""
        if not config.strategy.effective(job.context):
            return {}
        return {"old": job.context.old, "similarity": dict(job.context.similarity)}

    def _score(self, job: StageJob, config: TrialConfig) -> dict[str, float]:
        """Answer and score; the engine that is open holds the stage's weights."""
        whole = Timer()
        routing = Routing(self, job, config) if job.experts else None
        # Scores of the untrained model are shared by trials that freeze a Q-Former and trials that do not.
        self.lmm.recompute_queries = job.key == job.base and not routing
        for task, split, key in job.score:
            timer, zero = Timer(), config.training.zero
            if routing:
                record = routing.scored(task, split, zero)
            else:
                predictions = generate_answers(self.lmm, self.data, task, split, zero)
                record = score_record(self.benchmark.tasks[task], split, predictions)
            if self.rank == 0:
                self.store.put(key, record | timer.cost())
        self.lmm.recompute_queries = False
        return {"score": whole.seconds} if job.score else {}

    def _keep(self, job: StageJob, config: TrialConfig, strategy: Strategy) -> float:
        whole = Timer()
        for task, key in job.keep:
            timer = Timer()
            # Dropout again, and not from wherever training or scoring left off: they may not have run.
            torch.manual_seed(stage_seed(self.spec.seed, job.tasks, job.stage) + self.rank)
            learner = StageLearner(self, config, self.weights(job.key, job))
            kept = strategy.consolidate(learner, task, self.data.sizes([task])[task])
            count = sum(value.numel() for value in strategy.routing_tensors(kept).values())
            record = {"kind": "kept", "strategy": strategy.name, "of": job.key, "task": task}
            self._publish(key, record | {"parameters": count} | timer.cost(), kept)
        return whole.seconds

    def _embed(self, job: StageJob, config: TrialConfig) -> float:
        """The tasks' signatures, by the vision tower as the model came with it."""
        timer = Timer()
        frozen = dataclasses.replace(config.adapter, parts="projection")
        self._load(config)
        if self.lmm.tower is None:  # of a trial before, which trained it
            self._take_up(dataclasses.replace(config, adapter=frozen))
        for task, key in job.embed:
            own = Timer()
            signature = dict(self.embedder.signature(task))
            self._publish(key, {"kind": "task embedding", "task": task} | own.cost(), signature)
        return timer.seconds

    def _publish(
        self, key: str, record: Mapping[str, object], tensors: Tensors | None = None
    ) -> None:
        if self.rank == 0:
            self.store.put(key, record, tensors)
        if self.workers > 1:
            dist.barrier()  # no rank may look for it before it is there

    def _take_up(self, config: TrialConfig) -> None:
        """Load the model if need be, and put this configuration's adapters on it."""
        changed = self._adapter is not None and self._adapter != config.adapter
        # ZeRO-3 leaves its parameters split up, and a language model that was trained is another: other
        # adapters need a clean copy of the base.
        spoilt = config.training.zero == 3 or (self._adapter and self._adapter.trains("lm"))
        self._load(config, anew=bool(changed and spoilt))
        if self._adapter != config.adapter:
            self.lmm.adapt(config.adapter, self.spec.seed)
            self._adapter = config.adapter

    def _load(self, config: TrialConfig, anew: bool = False) -> None:
        """Load the model as this configuration holds it, unless it is there and need not be `anew`."""
        wanted = (config.training.loading, config.training.zero, config.training.longest)
        if self._loaded != wanted or anew:
            self._release()
            self.lmm = LMM(model_folder(self.spec.model), config.training.loading)
            if self.spec.features:
                folder = idle_weights_folder(self.spec.features, config.training.loading)
                with contextlib.suppress(OSError, SafetensorError):  # short of space, or damaged
                    self.lmm.offload(folder)
            if torch.cuda.is_available():
                self.lmm.to("cuda")
            longest, seed = config.training.longest, self.spec.seed
            seen = feature_reader(self.spec.features, config.training.loading)
            self.data = Data(self.benchmark, self.lmm, seed, longest, seen)
            self.embedder = TaskEmbedder(self.data, self.spec.text_encoder)
            self._loaded, self._adapter = wanted, None
            # What is there by now stays: the collection after each stage need not go through it.
            gc.collect()
            gc.freeze()
            collect_as_usual()

    def _release(self) -> None:
        """Let go of the model at hand, so that no two are held at once; its parts know each other."""
        if self._loaded:
            del self.lmm, self.data, self.embedder
            self._loaded = None
            gc.unfreeze()
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def weights(self, key: str, job: StageJob) -> Tensors:
        """Weights by their key; the adapters' initial ones for the model before any training."""
        return self.lmm.initial() if key == job.base else self.store.tensors(key)


class Timer:
    """Seconds on the clock, and of this process on the processor, since it was made."""

    def __init__(self) -> None:
        self._clock, self._cpu = time.perf_counter(), time.process_time()

    @property
    def seconds(self) -> float:
        """On the clock."""
        return time.perf_counter() - self._clock

    def cost(self) -> dict[str, float]:
        """What records hold."""
        return {"seconds": self.seconds, "cpu_seconds": time.process_time() - self._cpu}
