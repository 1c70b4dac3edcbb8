"""Walks outside a search: jobs, and the processes that take one after the other."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import json
import multiprocessing
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.results.formatting import format_duration
from spaces.files import write_atomically
from trainables.config import TrialConfig
from trainables.metrics.glossary import RETRIEVAL
from trainables.metrics.score_matrix import ScoreMatrix
from trainables.metrics.summary import summary
from trainables.panel import Panel
from trainables.stage_job import DivergedError, Fingerprints, WorkerSpec
from trainables.store.digest import digest
from trainables.store.stage_keys import strategy_code
from trainables.store.stage_store import StageStore
from trainables.trial import PanelTrial

if TYPE_CHECKING:  # it imports DeepSpeed, which only those that train need
    from trainables.lanes.in_process import InProcessRunner


@dataclass(frozen=True)
class Job:
    """One configuration walked through some orderings at one seed; its result is one file."""

    preset: str
    name: str
    """Of the strategy, or what else it shows."""
    config: Mapping[str, Any]
    panels: tuple[Panel, ...]
    """Each of one ordering, so that every ordering has costs of its own."""
    worker_spec: WorkerSpec
    fingerprints: Fingerprints
    folder: Path

    @property
    def file(self) -> Path:
        """Where the result is written."""
        return self.folder / f"{self.preset}-{self.name}-{self.fingerprints.seed}.json"

    @functools.cached_property
    def identity(self) -> str:
        """Of all that the result comes from: a result of anything else is made anew."""
        panels = [dataclasses.asdict(panel) for panel in self.panels]
        code = strategy_code(self.config["strategy"]["name"])
        return digest(self.config, panels, dataclasses.asdict(self.fingerprints), code)

    @property
    def stages(self) -> int:
        """Tasks trained, over all orderings: what its duration hangs on."""
        config = TrialConfig.from_dict(self.config)
        return sum(len(path[-1]) for panel in self.panels for path in panel.paths(config))

    @property
    def done(self) -> bool:
        """Whether its result is there."""
        try:
            return json.loads(self.file.read_text())["identity"] == self.identity
        except (OSError, ValueError, KeyError):
            return False


def run_jobs(jobs: Sequence[Job], lanes: int) -> None:
    """Make the results that are not there yet, in `lanes` processes of one thread each."""
    left = [job for job in jobs if not job.done]
    print(f"{len(jobs) - len(left)} of {len(jobs)} results are there", flush=True)
    if not left:
        return
    total, made, start = sum(job.stages for job in left), 0, time.monotonic()
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(min(lanes, len(left)), spawn) as pool:
        futures = {pool.submit(make, job): job for job in left}
        try:
            for number, future in enumerate(concurrent.futures.as_completed(futures), start=1):
                future.result()
                made += futures[future].stages
                rest = (time.monotonic() - start) * (total - made) / made
                told = f"{futures[future].file.stem}; about {format_duration(rest)} left"
                print(f"{number}/{len(left)}  {told}", flush=True)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in multiprocessing.active_children():
                child.terminate()
            raise


def make(job: Job) -> None:
    """Walk the orderings and write the result; one that diverged is a result too."""
    start, message, orderings = time.perf_counter(), "", []
    try:
        orderings = [walked(job, panel) for panel in job.panels]
    except DivergedError as error:
        message, orderings = str(error), []
    about = {"preset": job.preset, "name": job.name, "seed": job.fingerprints.seed}
    about |= {"identity": job.identity, "config": dict(job.config), "message": message}
    spent = {"seconds": time.perf_counter() - start}
    write_atomically(job.file, json.dumps(about | spent | {"orderings": orderings}, indent=1))


def walked(job: Job, panel: Panel) -> dict[str, Any]:
    """The matrices of one ordering, of the scores and of what stands beside them, and every figure."""
    store = StageStore(job.worker_spec.store)
    config = TrialConfig.from_dict(job.config)
    walk = PanelTrial(config, panel, job.fingerprints, store, runner(job.worker_spec))
    while not walk.finished:
        walk.step()
    routed = RETRIEVAL if config.strategy.has_experts else ()
    metrics = figures(walk, walk.matrices()[0])
    return {
        "ordering": list(panel.orderings[0]),
        "scores": walk.matrices()[0].to_dict(),
        **{name: walk.matrices(name)[0].to_dict() for name in routed},
        "metrics": {name: None if v != v else v for name, v in metrics.items()},
    }


def figures(walk: PanelTrial, matrix: ScoreMatrix) -> dict[str, float]:
    """Every continual metric of a walk through one ordering, and what it cost."""
    of_walk = walk.metrics()
    costs = {name: of_walk[name] for name in ("stored_bytes", "added_parameters", "train_seconds")}
    return summary(matrix) | costs | {"core_seconds": core_seconds(walk)}


def core_seconds(walk: PanelTrial) -> float:
    """Seconds of one core that training took, and making what the strategy keeps; scoring is left out."""
    paths = [(), *walk.paths]
    keys = [walk.key(path) for path in paths]
    keys += [key for path in paths for _, key in walk.lineage.kept(path)]
    records = [walk.store.get(key) for key in keys]
    return sum(record.cpu_seconds for record in records if record)


@functools.lru_cache(maxsize=1)
def runner(worker_spec: WorkerSpec) -> InProcessRunner:
    """This process as the one rank, with the model loaded once."""
    from trainables.lanes.in_process import InProcessRunner

    return InProcessRunner(worker_spec)
