"""What each DeepSpeed rank does for a stage: train, score, keep. Runs in a lane or in-process."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

import torch
import torch.distributed as dist

from models.lmm import LMM
from models.location import model_folder
from spaces.adapter import Adapter
from spaces.loading import Loading
from strategies import Pick, Strategy, Tensors
from tasks import load_benchmark
from trainables.config import TrialConfig
from trainables.data import Data, batches, micro_batches
from trainables.engine import Engine, opened, still
from trainables.evaluate import answers, scored
from trainables.job import DivergedError, Place, StageJob, stage_seed
from trainables.stages import StageStore


class Worker:
    """One rank. It loads the model once and serves stage after stage, of whatever trial."""

    def __init__(self, place: Place) -> None:
        torch.set_num_threads(place.threads)
        self.place = place
        self.rank, self.workers = dist.get_rank(), dist.get_world_size()
        self.benchmark = load_benchmark(place.benchmark)
        self.store = StageStore(place.store)
        self._loaded: tuple[Loading, int, int] | None = None
        self._adapter: Adapter | None = None

    def run(self, job: StageJob) -> dict[str, float]:
        """Make what the job asks for and publish it; returns the seconds that each part took."""
        config = TrialConfig.from_dict(job.config)
        self._take_up(config)
        strategy, seconds, timer = config.fresh_strategy(), {}, Timer()
        start = self._weights(job.parent if job.train else job.key, job.stage - job.train)
        plan = self._plan(job, config, strategy, start) if job.train else []
        with opened(self.lmm, config.training, self.workers, start, len(plan)) as engine:
            if job.train:
                losses = self._train(engine, plan, config, strategy, job)
                self._publish_weights(job, engine, losses, timer)
                seconds["train"] = timer.seconds
            for task, split, key in job.score:
                timer = Timer()
                self._score(task, split, key, config.training.zero, timer)
                seconds["score"] = seconds.get("score", 0.0) + timer.seconds
        if job.keep:
            timer = Timer()
            self._keep(job, config, strategy, timer)
            seconds["keep"] = timer.seconds
        return seconds

    def _plan(
        self, job: StageJob, config: TrialConfig, strategy: Strategy, start: Tensors
    ) -> list[list[Pick]]:
        """The stage's batches, once the strategy knows where it starts and what was kept."""
        strategy.prepare(start, [self.store.tensors(key) for key in job.kept])
        new, old = self.data.sizes(job.tasks), self.data.sizes(job.old)
        picks = strategy.mix(new, old, self.data.shuffled)
        lengths = self.data.lengths(picks) if config.training.grouped else None
        seed = stage_seed(self.place.seed, job.tasks, job.stage)
        return batches(picks, config.training, seed, lengths)

    def _train(
        self,
        engine: Engine,
        plan: Sequence[Sequence[Pick]],
        config: TrialConfig,
        strategy: Strategy,
        job: StageJob,
    ) -> list[float]:
        """The loop. Returns the mean loss per answer token of each batch."""
        torch.manual_seed(stage_seed(self.place.seed, job.tasks, job.stage) + self.rank)
        losses = []
        for batch in plan:
            micro = config.training.per_pass(self.workers)
            shares = micro_batches(batch, micro, self.rank, self.workers)
            tokens = self._answer_tokens(batch)
            total = 0.0
            for share in shares:
                loss = engine.answer_loss(self.data.training(share)) / tokens
                # DeepSpeed averages over ranks and micro-batches: scaled so that the batch's
                # gradient is that of the mean over its answer tokens, however it is shared out.
                engine.backward(loss * (self.workers * len(shares)))
                penalty = None
                if engine.ends_batch and strategy.penalised():
                    penalty = strategy.penalty(engine.weights())
                engine.step(penalty)
                total += float(loss.detach())
            losses.append(total)
        if self.workers > 1:
            parts = torch.tensor(losses, device=self.lmm.device)
            dist.all_reduce(parts)
            losses = parts.tolist()
        return losses

    def _answer_tokens(self, batch: Sequence[Pick]) -> int:
        return sum(len(e.answer) for e in self.data.training(batch))

    def _publish_weights(
        self, job: StageJob, engine: Engine, losses: list[float], timer: Timer
    ) -> None:
        weights = engine.weights()
        if not all(bool(torch.isfinite(w).all()) for w in weights.values()):
            raise DivergedError(
                f"stage {job.stage} on {'+'.join(job.tasks)} diverged: its weights must be finite "
                "after training; a lower learning_rate or strength would do"
            )
        record = {
            "kind": "trained",
            "tasks": job.tasks,
            "old": job.old,
            "stage": job.stage,
            "parent": job.parent,
            "steps": len(losses),
            "first_loss": losses[0],
            "last_loss": losses[-1],
        }
        self._publish(job.key, record | timer.cost(), weights)

    def _score(self, task: str, split: str, key: str, zero: int, timer: Timer) -> None:
        predictions = answers(self.lmm, self.data, task, split, zero)
        if self.rank == 0:
            record = scored(self.benchmark.tasks[task], split, predictions)
            self.store.put(key, record | timer.cost())

    def _keep(self, job: StageJob, config: TrialConfig, strategy: Strategy, timer: Timer) -> None:
        assert job.keep is not None
        # Dropout again, and not from wherever training or scoring left off: they may not have run.
        torch.manual_seed(stage_seed(self.place.seed, job.tasks, job.stage) + self.rank)
        learner = StageLearner(self, config, self._weights(job.key, job.stage))
        kept = strategy.consolidate(learner, self.data.sizes(job.tasks))
        record = {"kind": "kept", "strategy": strategy.name, "of": job.key}
        self._publish(job.keep, record | timer.cost(), kept)

    def _publish(self, key: str, record: Mapping[str, object], tensors: Tensors) -> None:
        if self.rank == 0:
            self.store.put(key, record, tensors)
        if self.workers > 1:
            dist.barrier()  # no rank may look for it before it is there

    def _take_up(self, config: TrialConfig) -> None:
        """Load the model if need be, and put this configuration's adapters on it."""
        wanted = (config.training.loading, config.training.zero, config.training.longest)
        changed = self._adapter is not None and self._adapter != config.adapter
        # ZeRO-3 leaves its parameters split up, and a language model that was trained is another: other
        # adapters need a clean copy of the base.
        spoilt = config.training.zero == 3 or (self._adapter and self._adapter.trains("lm"))
        if self._loaded != wanted or (changed and spoilt):
            self.lmm = LMM(model_folder(self.place.model), config.training.loading)
            if torch.cuda.is_available():
                self.lmm.to("cuda")
            self.data = Data(self.benchmark, self.lmm, self.place.seed, config.training.longest)
            self._loaded, self._adapter = wanted, None
        if self._adapter != config.adapter:
            self.lmm.adapt(config.adapter, self.place.seed)
            self._adapter = config.adapter

    def _weights(self, key: str, stage: int) -> Tensors:
        """A stage's weights; the adapters' initial ones for stage 0, the model before any stage."""
        return self.store.tensors(key) if stage > 0 else self.lmm.initial()


class StageLearner:
    """What a strategy may ask of the loop after a stage; see `strategies.Learner`."""

    def __init__(self, worker: Worker, config: TrialConfig, weights: Tensors) -> None:
        self.worker = worker
        self.config = config
        self._weights = weights

    def weights(self) -> Tensors:
        """The trainable weights after the stage."""
        return self._weights

    def gradients(self, picks: Sequence[Pick], batch_size: int) -> Iterator[Tensors]:
        """The gradient of the mean loss of each batch; the last may repeat examples.

        A batch has `batch_size` examples, or as many more as ranks need to share it out evenly.
        """
        worker = self.worker
        share_size = -(-batch_size // worker.workers)
        size = share_size * worker.workers
        training = still(self.config.training, size, share_size)
        full = [picks[i % len(picks)] for i in range(-(-len(picks) // size) * size)]
        with opened(worker.lmm, training, worker.workers, self._weights, 1) as engine:
            for i in range(0, len(full), size):
                batch = full[i : i + size]
                (share,) = micro_batches(batch, training.micro_batch, worker.rank, worker.workers)
                loss = engine.answer_loss(worker.data.training(share))
                engine.backward(loss * worker.workers / worker._answer_tokens(batch))
                yield engine.gradients()
                engine.step()


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
