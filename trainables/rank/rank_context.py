"""The state of one rank that training, consolidation, scoring and routing share."""

from __future__ import annotations

import contextlib
import gc

import torch
import torch.distributed as dist
from safetensors import SafetensorError

from models.lmm import LMM
from models.location import model_folder
from spaces.adapter import Adapter
from spaces.loading import Loading
from strategies import Outputs, Tensors
from tasks import load_benchmark
from trainables.config import TrialConfig
from trainables.rank.batching import Batch
from trainables.rank.data import Data
from trainables.rank.engine import Engine
from trainables.rank.features import feature_reader, idle_weights_folder
from trainables.rank.gc_policy import collect_as_usual
from trainables.rank.task_embeddings import TaskEmbedder
from trainables.stage_job import StageJob, WorkerSpec
from trainables.store.records import StageRecord
from trainables.store.stage_store import StageStore


class RankContext:
    """The model, data and store of one rank; `load` or `adapt` sets the model, its data and embedder."""

    lmm: LMM
    data: Data
    embedder: TaskEmbedder

    def __init__(self, spec: WorkerSpec) -> None:
        self.spec = spec
        self.rank, self.workers = dist.get_rank(), dist.get_world_size()
        self.benchmark = load_benchmark(spec.benchmark)
        self.store = StageStore(spec.store)
        self._loaded: tuple[Loading, int, int] | None = None
        self._adapter: Adapter | None = None
        self.seed = 0
        """Seed of the adapters that the model has, and of the permutations of training rows."""

    def adapt(self, config: TrialConfig, seed: int = 0) -> None:
        """Load the model if need be, and give it this configuration's adapters, drawn from a seed."""
        same = self._adapter == config.adapter and self.seed == seed
        changed = self._adapter is not None and not same
        # ZeRO-3 leaves its parameters split up, and training the language model changes the base:
        # other adapters need a clean copy of it.
        spoilt = config.training.zero == 3 or (self._adapter and self._adapter.trains("lm"))
        self.load(config, anew=bool(changed and spoilt))
        if self._adapter != config.adapter or self.seed != seed:
            self.lmm.adapt(config.adapter, seed)
            self._adapter, self.seed, self.data.seed = config.adapter, seed, seed

    def load(self, config: TrialConfig, anew: bool = False) -> None:
        """Load the model with this configuration's options; keep one that has them, unless `anew`."""
        training, spec = config.training, self.spec
        options = (training.loading, training.zero, training.longest)
        if self._loaded == options and not anew:
            return
        self._release()
        self.lmm = LMM(model_folder(spec.model), training.loading)
        if spec.features:
            folder = idle_weights_folder(spec.features, training.loading)
            # Offloading saves memory only: a full disk or a damaged file must not end the stage.
            with contextlib.suppress(OSError, SafetensorError):
                self.lmm.offload(folder)
        if torch.cuda.is_available():
            self.lmm.to("cuda")
        cached = feature_reader(spec.features, training.loading)
        self.data = Data(self.benchmark, self.lmm, self.seed, training.longest, cached)
        self.embedder = TaskEmbedder(self.data, spec.text_encoder)
        self._loaded, self._adapter = options, None
        # The objects that exist by now live as long as the model: no later collection need visit them.
        gc.collect()
        gc.freeze()
        collect_as_usual()

    def _release(self) -> None:
        """Delete the model, so that no two are in memory at once; its parts form reference cycles."""
        if self._loaded:
            del self.lmm, self.data, self.embedder
            self._loaded = None
            gc.unfreeze()
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def forward(self, engine: Engine, batch: Batch) -> Outputs:
        """Run the forward pass of a micro-batch of training examples."""
        logits, answers = engine.answer_logits(self.data.training(batch))
        return Outputs(batch, logits, answers)

    def answer_tokens(self, batch: Batch) -> int:
        """Count the tokens of all answers of a batch."""
        return sum(len(e.answer) for e in self.data.training(batch))

    def weights(self, key: str, job: StageJob) -> Tensors:
        """Read weights by their key; return the initial values of the adapters for the base model."""
        return self.lmm.initial() if key == job.base else self.store.tensors(key)

    def publish(self, key: str, record: StageRecord, tensors: Tensors | None = None) -> None:
        """Write a record and its tensors to the store from rank 0, and wait until they are there."""
        if self.rank == 0:
            self.store.put(key, record, tensors)
        if self.workers > 1:
            dist.barrier()
