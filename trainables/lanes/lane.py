"""A lane: a warm Ray Train worker group that serves stage after stage, trial after trial.

One long `TorchTrainer.fit()` runs in a thread. Its ranks read jobs from a mailbox and post their
answers there. A stage thus costs milliseconds of orchestration, and no trial starts a process.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
import ray.train
from ray.train.torch import TorchTrainer

from spaces.storage import check_storage
from trainables.lanes.loopback import torch_config
from trainables.lanes.mailbox import Answer, Mailbox, pack, unpack
from trainables.stage_job import DivergedError, StageJob, WorkerSpec

POLL_SECONDS = 2.0
PING = "hello"
"""The first job of a lane, which the ranks answer as soon as they run."""


class LaneError(RuntimeError):
    """A rank died or raised, and the lane is lost.

    Tune runs the trial once more, in a new actor with a new lane, and its finished stages are found in the
    store. After a second failure the trial waits for a resumed search.
    """


def serve(config: dict[str, Any]) -> None:
    """Run stage after stage on one rank, until the job is None."""
    # The trial and Train's controller import this module too, and need no transformers, peft and
    # DeepSpeed.
    from trainables.rank.worker import Worker

    mailbox, spec = config["mailbox"], config["spec"]
    spec.guard_storage()
    worker, number = Worker(spec), 0
    get: Any = ray.get  # its annotation knows lists of references only
    while (job := unpack(get(mailbox.job.remote(number)))) is not None:
        try:
            answer: Answer = {"seconds": worker.run(job) if job != PING else {}}
        except DivergedError as error:
            # Every rank sees the same weights and raises this together, so the lane can go on.
            answer = {"diverged": str(error)}
        ray.get(mailbox.answer.remote(number, answer))
        number += 1


class Lane:
    """A worker group of `workers` DeepSpeed ranks; a runner for `PanelTrial`.

    It starts with its first job, or as soon as its trial has to wait for another's stage, so that it is
    warm by then. Trials that find all their stages in the store need none.
    """

    def __init__(self, spec: WorkerSpec, workers: int, storage: Path) -> None:
        self.spec, self.workers, self.storage = spec, workers, storage
        self.mailbox: Any = None
        self.started = False
        self.error: BaseException | None = None

    def _start(self) -> None:
        spec, workers = self.spec, self.workers
        check_storage(self.storage)
        # Made inside a trial, an actor would be put into the trial's placement group and refused.
        mailbox: Any = ray.remote(Mailbox)
        self.mailbox = mailbox.options(
            num_cpus=0, max_concurrency=1000, scheduling_strategy="DEFAULT"
        ).remote(workers)
        # From the spec, not from torch: Ray hides the GPUs from actors that ask for none, such as a trial.
        gpu = spec.gpus > 0
        self._trainer = TorchTrainer(
            serve,
            train_loop_config={"mailbox": self.mailbox, "spec": spec},
            torch_config=torch_config("nccl" if gpu else "gloo"),
            scaling_config=ray.train.ScalingConfig(
                num_workers=workers,
                use_gpu=gpu,
                resources_per_worker={"GPU": spec.gpus} if gpu else {"CPU": 1},
            ),
            run_config=ray.train.RunConfig(
                name=f"lane-{uuid.uuid4().hex[:8]}", storage_path=str(self.storage)
            ),
        )
        self._thread = threading.Thread(target=self._fit, daemon=True)
        self._thread.start()
        self.started = True
        # Wait for its number: an actor with many threads may take calls in any order.
        number = ray.get(self.mailbox.post.remote(pack(PING)))
        self._ready = self.mailbox.answered.remote(number)

    def ready(self) -> bool:
        """Return True if the ranks could begin with a job at once; start them if they are not running."""
        if not self.started:
            self._start()
        return bool(ray.wait([self._ready], timeout=0)[0])

    def run(self, job: StageJob) -> Mapping[str, float]:
        """Run `job` on all ranks; raise `DivergedError`, or `LaneError` if a rank died or raised."""
        if not self.started:
            self._start()
        number = ray.get(self.mailbox.post.remote(pack(job)))
        waiting = self.mailbox.answered.remote(number)
        while not ray.wait([waiting], timeout=POLL_SECONDS)[0]:
            if not self._thread.is_alive():
                raise LaneError(f"the lane ended during {job.tasks}: {self.error}")
        answers = ray.get(waiting)
        for answer in answers:
            if "diverged" in answer:
                raise DivergedError(answer["diverged"])
        return answers[0]["seconds"]

    def close(self) -> None:
        """Stop the ranks and wait until they have ended."""
        if not self.started:
            return
        ray.get(self.mailbox.post.remote(pack(None)))
        self._thread.join(timeout=30)
        ray.kill(self.mailbox)

    def _fit(self) -> None:
        try:
            self._trainer.fit()
        except BaseException as error:
            self.error = error
