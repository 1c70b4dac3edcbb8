"""The same trials on plain Ray Tune, in the three ways that its documentation shows.

    python -m benchmarks.speed.plain_tune WAY FOLDER

FOLDER holds `trials.json`: configurations, orderings, and where the benchmark lies. Each trial trains every
ordering from the model as it came, with the loop, models and seeds of a search, and looks at every image
whenever it meets it. Writes `matrices-WAY.json` there.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

WAYS = ("defaults", "tuned", "trainer")
"""A function per trial; the same with actors reused, no loggers and so many at once as cores; a
`TorchTrainer.fit()` per trial."""
ROOT = Path(__file__).resolve().parents[2]


def trial(config: dict[str, Any]) -> None:
    """A function trainable: one configuration through all orderings."""
    from ray import tune

    tune.report({"matrices": matrices(config)})


def matrices(config: dict[str, Any]) -> list[Any]:
    """Train and score every ordering in this process."""
    from benchmarks.speed.live import Live, looking
    from benchmarks.speed.small import TASKS, Small, one_thread, walked
    from tasks import load_benchmark
    from trainables.config import TrialConfig
    from trainables.job import Setting

    one_thread()
    told = json.loads(Path(config["file"]).read_text())
    benchmark = Path(told["benchmark"])
    known = load_benchmark(benchmark).tasks
    prints = {name: known[name].fingerprint() for name in TASKS}
    made = Small(benchmark, Setting(model="", tasks=prints, seed=told["seed"], workers=1))
    found, chosen = [], TrialConfig.from_dict(told["configs"][config["which"]])
    with looking(Live):
        for ordering in told["orderings"]:
            store = Path(tempfile.mkdtemp())
            walk = walked(made.walk(chosen, store, [tuple(ordering)]))
            found += [matrix.to_dict() for matrix in walk.matrices()]
            shutil.rmtree(store)
    return found


def trainer(config: dict[str, Any]) -> None:
    """As Ray documents it: the function trainable fits a `TorchTrainer`, whose worker does the work."""
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
    tune.report({"matrices": json.loads(out.read_text())})


def main(way: str, folder: Path, only: int | None = None) -> None:
    """Run the trials in one of `WAYS`; `only` so many of them."""
    import ray
    from ray import tune

    os.environ["PYTHONPATH"] = str(ROOT)
    if way == "tuned":
        os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    cores = len(os.sched_getaffinity(0))
    # A trial that only waits for its trainer needs no core of its own.
    ray.init(address="local", num_cpus=cores, log_to_driver=False)
    file = folder / "trials.json"
    count = only or len(json.loads(file.read_text())["configs"])
    run, cpus = (trainer, 0.0) if way == "trainer" else (trial, 1.0)
    results = tune.Tuner(
        tune.with_resources(run, {"cpu": cpus}),
        param_space={"which": tune.grid_search(list(range(count))), "file": str(file)},
        tune_config=tune.TuneConfig(
            reuse_actors=way == "tuned", max_concurrent_trials=None if way == "defaults" else cores
        ),
        run_config=tune.RunConfig(storage_path=str(folder / way), verbose=0),
    ).fit()
    found = {r.config["which"]: r.metrics["matrices"] for r in results if r.config and r.metrics}
    assert len(found) == count, f"{count - len(found)} trials failed"
    whole = json.dumps([found[which] for which in range(count)])
    (folder / f"matrices-{way}.json").write_text(whole)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]).resolve(), int(sys.argv[3]) if len(sys.argv) > 3 else None)
