"""A worker in the calling process, without Ray: for tests, debugging and as a bare baseline."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping

import torch
import torch.distributed as dist

from trainables.rank.worker import Worker
from trainables.stage_job import StageJob, WorkerSpec

for library in ("deepspeed", "torch", "transformers"):  # deprecations among themselves
    warnings.filterwarnings("ignore", category=FutureWarning, module=rf"{library}\.")


class InProcessRunner:
    """A runner with one rank in this process, the same code as in a lane."""

    def __init__(self, spec: WorkerSpec) -> None:
        init_single_process_group()
        self.worker = Worker(spec)

    def run(self, job: StageJob) -> Mapping[str, float]:
        return self.worker.run(job)

    def ready(self) -> bool:
        return True


def init_single_process_group() -> None:
    """Initialise a process group of one, unless there is a group already."""
    if not dist.is_initialized():
        os.environ.setdefault("LOCAL_RANK", "0")  # DeepSpeed insists
        backend = "nccl" if torch.cuda.is_available() else "gloo"
        store = dist.HashStore()  # pyright: ignore[reportPrivateImportUsage]  # as torch documents it
        dist.init_process_group(backend, store=store, rank=0, world_size=1)
