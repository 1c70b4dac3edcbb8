"""The same trials on plain Ray Tune, in the three ways that its documentation shows.

    python -m benchmarks.speed.plain_tune WAY FOLDER

FOLDER holds `trials.json`: configurations, orderings, and where the benchmark lies. Each trial trains every
ordering from the model as it came, with the loop, models and seeds of a search, and looks at every image
whenever it meets it; the model is loaded once by each process. Writes `plain-WAY.json` there: matrices, the
seconds that trials took inside and as Tune has them, and those of the whole `fit`.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

WAYS = ("defaults", "tuned", "trainer")
"""A function per trial; the same with actors reused, no loggers and so many at once as cores; a
`TorchTrainer.fit()` per trial."""
ROOT = Path(__file__).resolve().parents[2]


def trial(config: dict[str, Any]) -> None:
    """Train one configuration through all orderings, as a function trainable."""
    from ray import tune

    tune.report(matrices(config))


def matrices(config: dict[str, Any]) -> dict[str, Any]:
    """Train and score every ordering in this process."""
    from benchmarks.speed.live import Live, encoding_by
    from benchmarks.speed.small import one_thread, walked
    from trainables.config import TrialConfig

    begun = time.perf_counter()
    one_thread()
    told = json.loads(Path(config["file"]).read_text())
    made = known(Path(told["benchmark"]), told["seed"])
    found, chosen = [], TrialConfig.from_dict(told["configs"][config["which"]])
    # Joint tuning hangs on no order: anybody would train it once.
    orderings = told["orderings"][: 1 if chosen.strategy.name == "joint" else None]
    untrained: dict[str, Any] = {}
    with encoding_by(Live):
        runner = local(Path(told["benchmark"]), told["seed"])
        for ordering in orderings:
            store = Path(tempfile.mkdtemp())
            walk = made.walk(chosen, store, [tuple(ordering)], runner)
            runner.worker.rank_context.store = walk.store
            # Nor would anybody score the model as it came more than once a trial.
            for key, record in untrained.items():
                walk.store.put(key, record)
            found += [matrix.to_dict() for matrix in walked(walk).matrices()]
            keys = [walk.lineage.scored((), task) for task in walk.lineage.scored_tasks(())]
            untrained = {key: walk.store.header(key) for key in keys}
            shutil.rmtree(store)
    return {"matrices": found, "inside": time.perf_counter() - begun}


@functools.cache
def known(benchmark: Path, seed: int) -> Any:
    """Return the tasks of the benchmarks."""
    from benchmarks.speed.small import TASKS, Small
    from tasks import load_benchmark
    from trainables.stage_job import Fingerprints

    tasks = load_benchmark(benchmark).tasks
    prints = {name: tasks[name].fingerprint() for name in TASKS}
    return Small(benchmark, Fingerprints(model="", tasks=prints, seed=seed, workers=1))


@functools.cache
def local(benchmark: Path, seed: int) -> Any:
    """Return the worker of this process, with the model loaded once."""
    from trainables.lanes.in_process import InProcessRunner

    return InProcessRunner(known(benchmark, seed).worker_spec(Path(tempfile.mkdtemp())))


def trainer(config: dict[str, Any]) -> None:
    """Fit a `TorchTrainer` in the function trainable, as Ray documents it."""
    import ray.train
    from ray import tune
    from ray.train.torch import TorchTrainer

    def work(own: dict[str, Any]) -> None:
        found = matrices(own)
        Path(own["out"]).write_text(json.dumps(found))
        ray.train.report({"done": 1})

    out = Path(tempfile.mkdtemp()) / "matrices.json"
    TorchTrainer(
        work,
        train_loop_config={**config, "out": str(out)},
        scaling_config=ray.train.ScalingConfig(num_workers=1, resources_per_worker={"CPU": 1}),
        run_config=ray.train.RunConfig(storage_path=tempfile.mkdtemp()),
    ).fit()
    tune.report(json.loads(out.read_text()))


def main(way: str, folder: Path, only: int | None = None) -> None:
    """Run the trials in one of `WAYS`; `only` so many of them, evenly taken from all."""
    import ray
    from ray import tune

    os.environ["PYTHONPATH"] = str(ROOT)
    if way == "tuned":
        os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    cores = len(os.sched_getaffinity(0))
    # A trial that only waits for its trainer needs no core of its own, and Tune takes none for an answer.
    waiting = way == "trainer"
    ray.init(address="local", num_cpus=cores + waiting, log_to_driver=False)
    file = folder / "trials.json"
    whole = len(json.loads(file.read_text())["configs"])
    chosen = list(range(0, whole, whole // (only or whole)))
    run, cpus = (trainer, 1 / cores) if waiting else (trial, 1.0)
    begun = time.perf_counter()
    results = tune.Tuner(
        tune.with_resources(run, {"cpu": cpus}),
        param_space={"which": tune.grid_search(chosen), "file": str(file)},
        tune_config=tune.TuneConfig(
            reuse_actors=way == "tuned", max_concurrent_trials=None if way == "defaults" else cores
        ),
        run_config=tune.RunConfig(storage_path=str(folder / way), verbose=0),
    ).fit()
    took = time.perf_counter() - begun
    found = {r.config["which"]: r.metrics for r in results if r.config and r.metrics}
    lacking = len(chosen) - len(found)
    assert not lacking, f"{lacking} trials failed"
    told = {
        "matrices": {which: found[which]["matrices"] for which in chosen},
        "inside": sum(found[which]["inside"] for which in chosen),
        "trials": sum(found[which]["time_total_s"] for which in chosen),
        "fit": took,
    }
    (folder / f"plain-{way}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    # By the module's own name: Ray's workers know no `__main__` but their own.
    from benchmarks.speed import plain_tune

    args = sys.argv[1:]
    plain_tune.main(args[0], Path(args[1]).resolve(), int(args[2]) if len(args) > 2 else None)
