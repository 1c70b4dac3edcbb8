"""Bookkeeping of a search beside Tune's own work and training: ten thousand trials of ten stages.

    python -m benchmarks.speed.bookkeeping [--trials 10000]

Stages are in the store already, in the sizes that real ones have: every lookup, record, rung and line of
progress is made as in a search, in one process. The searcher's proposals are Optuna's own time, and not in
it, nor are leases and pins, of which a trial takes a handful. How a decision's cost grows is measured for
each rule on its own, on scores that are noise about each trial's quality.
"""

from __future__ import annotations

import argparse
import io
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from ray.tune.experiment import Trial
from rich.console import Console

from benchmarks.speed.measure import Result, exact, say
from benchmarks.speed.small import TASKS, config, write_ceiling
from search.tuning.progress import Progress
from search.tuning.stage_scheduler import StageScheduler
from search.tuning.stopping import MedianRule, Racing, StoppingRule, SuccessiveHalving
from trainables.panel import Panel
from trainables.stage_job import Fingerprints, StageJob
from trainables.store.records import ScoreRecord, TrainedRecord
from trainables.store.stage_store import StageStore
from trainables.trial import PanelTrial

ORDERINGS = (TASKS, TASKS[::-1])
STAGES = 10
ANSWERS = 120
FIRST = 1000
RULES: dict[str, Callable[[], StoppingRule]] = {
    "asha": lambda: SuccessiveHalving(5, STAGES, 2),
    "median": lambda: MedianRule(5),
    "racing": lambda: Racing([(str(number),) for number in range(STAGES)]),
}


def main() -> None:
    """Simulate, and print three lines."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--trials", type=int, default=10_000)
    args = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "search"
        simulation = Simulation(run)
        marks = {}
        begun = time.process_time()
        for number in range(args.trials):
            simulation.trial(number)
            if (number + 1) % FIRST == 0 or number + 1 == args.trials:
                marks[number + 1] = time.process_time() - begun
                say(f"{number + 1} trials: {marks[number + 1]:.1f} s of processor")
        own = (marks[args.trials] - simulation.maker.seconds) / args.trials / STAGES * 1e3
        Result(
            "bookkeeping of a stage",
            own,
            own,
            own,
            "<= 1",
            "ms of processor beside Tune's own",
            {"trials": args.trials, "stages": STAGES * args.trials}
            | {"making_the_store_seconds": simulation.maker.seconds},
        ).tell()
        late = {name: growth(rule, args.trials) for name, rule in RULES.items()}
        exact(
            "a decision at the end",
            max(late.values()),
            "<= 2",
            f"times one of the first {FIRST} trials",
            **late,
        ).tell()
        size = psutil.Process().memory_info().rss / 1e9
        exact("memory of the driver", size, "<= 1", "GB").tell()


def growth(rule: Callable[[], StoppingRule], trials: int) -> float:
    """Return the time of the last `FIRST` trials' decisions over that of the first ones."""
    draw, spent = random.Random(0), []
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        write_ceiling(run, dict.fromkeys(TASKS, 0.9))
        scheduler = StageScheduler(rule(), run, set())
        controller = None
        for number in range(trials):
            stub = Trial("simulated", config={"name": f"{number:05d}"}, stub=True)
            quality, seen, begun = draw.random(), [], time.process_time()
            scheduler.on_trial_add(controller, stub)  # type: ignore[arg-type]
            result: dict[str, Any] = {}
            for stage in range(1, STAGES + 1):
                tasks = ORDERINGS[(stage - 1) // len(TASKS)][: (stage - 1) % len(TASKS) + 1]
                seen = [*seen, {task: quality + 0.1 * draw.random() for task in tasks}]
                result = {"seen": seen, "training_iteration": stage, "stages_done": stage}
                if scheduler.on_trial_result(controller, stub, result) == scheduler.STOP:
                    break
            else:
                scheduler.on_trial_complete(controller, stub, result)
            spent.append(time.process_time() - begun)
    return sum(spent[-FIRST:]) / sum(spent[:FIRST])


class Simulation:
    """The parts of a search that are ours, without Ray."""

    def __init__(self, run: Path) -> None:
        (run / "trials").mkdir(parents=True)
        self.run = run
        self.store = StageStore(run.parent / "stages")
        self.fingerprints = Fingerprints("model", {task: task for task in TASKS}, 0, 1)
        self.panel = Panel(ORDERINGS)
        rule = SuccessiveHalving(5, STAGES, 2)
        self.scheduler = StageScheduler(rule, run, set())
        self.progress = Progress(
            run, 10_000, STAGES, 2, [("final_average", "max")], Console(file=io.StringIO())
        )
        self.maker = Maker(self.store)
        write_ceiling(run, dict.fromkeys(TASKS, 0.9))

    def trial(self, number: int) -> None:
        """Return one of twenty configurations: later trials find all their stages in the store."""
        name = f"{number:05d}"
        chosen = config({"name": "replay", "ratio": 0.01 * (1 + number % 20)})
        walk = PanelTrial(chosen, self.panel, self.fingerprints, self.store, self.maker)
        stub = Trial("simulated", config={"name": name, "trial": chosen.to_dict()}, stub=True)
        controller: Any = None
        self.scheduler.on_trial_add(controller, stub)
        result: dict[str, Any] = {}
        while not walk.finished:
            walk.step()
            state = "finished" if walk.finished else "running"
            record = walk.record(name, state)
            record.write(self.run)
            result = {
                **record.metrics,
                "seen": walk.outcome.seen_scores(),
                "state": state,
                "stages_done": walk.stages_done,
                "stages": [stage.trained for stage in walk.stages],
                "time_this_iter_s": 0.1,
            }
            self.scheduler.on_trial_result(controller, stub, result)
            self.progress.on_trial_result(0, [], stub, result)
        self.scheduler.on_trial_complete(controller, stub, result)
        self.progress.on_trial_complete(0, [], stub)


class Maker:
    """Writes what a stage would leave, in a real stage's sizes."""

    def __init__(self, store: StageStore) -> None:
        self.store, self.seconds = store, 0.0

    def run(self, job: StageJob) -> dict[str, float]:
        import torch

        begun = time.process_time()
        if job.train:
            record = TrainedRecord(
                tasks=job.tasks,
                stage=job.depth,
                parent=job.parent,
                steps=1,
                first_loss=1.0,
                last_loss=0.5,
                parameters=50_000,
                seconds=5.0,
            )
            value = float(int(job.key[:5], 16))
            self.store.put(job.key, record, {"w": torch.full((50_000,), value)})
        said = {"id": "x" * 12, "prompt": "y" * 60, "prediction": "z" * 10, "answers": ["z" * 10]}
        for task, split, key in job.score:
            about = {"task": task, "split": split, "metric": "exact_match", "score": 0.5}
            self.store.put(key, ScoreRecord(**about, predictions=(said,) * ANSWERS))
        self.seconds += time.process_time() - begun
        return {"train": 5.0}

    def ready(self) -> bool:
        return True


if __name__ == "__main__":
    main()
