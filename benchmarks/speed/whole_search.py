"""A search of 24 configurations on four orderings of five tasks, over the same trials on plain Ray Tune.

    python -m benchmarks.speed.whole_search [--pairs 5] [--ways defaults,tuned,trainer]

Whole commands are timed, start-up and all, with nothing else on the machine: seconds of processor are those
of the machine. No trial is stopped early. The matrices must be equal to the last bit. Of the way with a
trainer per trial, every sixth trial is run; the others are taken to take as long as these did, without what
Ray and Tune need once.

Beside the ratio stand its parts: the counted stages, what keeping features gains a trial, what share of
the lanes' time the trials themselves take on plain Tune, and where our command's time goes: its start and
its end, and what the lanes train, keep and score.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from benchmarks.speed.live import Live, encoding_by
from benchmarks.speed.measure import Cost, compared, say
from benchmarks.speed.plain_tune import ROOT, WAYS
from benchmarks.speed.small import TASKS, Small, config, small, walked, write_plan
from search.plan.presets import MINI_TRAINING
from search.results.run_folder import read_run_folder
from spaces.references import CEILING
from trainables.lanes.in_process import InProcessRunner
from trainables.rank.data import Data
from trainables.trial_record import TrialRecord

SAMPLES = 22
"""Beside finetune and joint tuning."""
TARGETS = {"defaults": 4, "tuned": 3, "trainer": 8}
FEW, LANES = 4, 2
TRAIN, VALIDATION = 32, 8
"""Examples of each task: few, for an evening. The smaller a stage, the more a trial's own start weighs."""


def main() -> None:
    """Measure, and print a line for each way."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--pairs", type=int, default=5)
    p.add_argument("--ways", default=",".join(WAYS))
    args = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        made = small(root / "data", TRAIN, VALIDATION)
        write_wide_plan(root / "plan.yaml", made.benchmark)
        found: dict[str, list[tuple[Cost, Cost]]] = {way: [] for way in args.ways.split(",")}
        shares: dict[str, list[float]] = {way: [] for way in found}
        counted: dict[str, Any] = {}
        ends: list[tuple[float, float]] = []
        for number in range(args.pairs):
            begun = time.time()
            ours = cost_of_command(search(root))
            ends.append(at_the_ends(root, begun))
            trials, counted = records(root)
            # Of several lanes, what was proposed may differ between two searches.
            write_trials(root, made.benchmark, trials)
            for way, costs in found.items():
                cost, told = plain(root, way)
                costs.append((cost, ours))
                shares[way].append(told["inside"] / (LANES * told["fit"]))
                check(way, told["matrices"], trials)
                say(f"pair {number + 1}, {way}: {costs[-1][0].wall:.0f} s, ours {ours.wall:.0f} s")
            shutil.rmtree(root / "storage")
        gain = cache_gain(root, made)
        for way, costs in found.items():
            some = {"trials_run": FEW, "trials_of_the_search": SAMPLES + 2}
            compared(
                f"whole search over plain Tune, {way}",
                costs,
                f">= {TARGETS[way]}",
                "times faster",
                **counted,
                **(some if way == "trainer" else {}),
                cache_gain=gain,
                examples_of_a_task=[TRAIN, VALIDATION],
                seconds_before_the_first_stage=statistics.median(first for first, _ in ends),
                seconds_after_the_last=statistics.median(last for _, last in ends),
                trials_share_of_lane_time=statistics.median(shares[way]),
            ).tell()


def write_wide_plan(file: Path, benchmark: Path) -> None:
    """The strategies that the paper compares and proposes."""
    training = {**MINI_TRAINING, "epochs": 1}
    strategies = ["replay", "ewc", "tir", "eproj"]
    own = {"orderings": "shared:4", "strategies": strategies, "samples": SAMPLES, "confirm": 0}
    write_plan(file, benchmark, training=training, **own)


def search(root: Path) -> list[str]:
    """The command of our search."""
    script = str(ROOT / "search" / "run.py")
    flags = [
        "--plan",
        str(root / "plan.yaml"),
        "--storage",
        str(root / "storage"),
        "--name",
        "ours",
    ]
    return [sys.executable, script, *flags]


def plain(root: Path, way: str) -> tuple[Cost, dict[str, Any]]:
    """What the same trials cost on plain Tune, and what it told."""
    few = [str(FEW)] if way == "trainer" else []
    command = [sys.executable, "-m", "benchmarks.speed.plain_tune", way, str(root), *few]
    shutil.rmtree(root / way, ignore_errors=True)
    cost = cost_of_command(command)
    told = json.loads((root / f"plain-{way}.json").read_text())
    more = (SAMPLES + 2 - FEW) * told["trials"] / FEW / LANES if few else 0.0
    return Cost(cost.wall + more, cost.cpu * (1 + more / cost.wall)), told


def cache_gain(root: Path, made: Small) -> float:
    """A trial of plain tuning in this process: live over kept features, medians of five in turns."""
    orderings = [TASKS[:3]]

    def trial(kind: type[Data]) -> float:
        with encoding_by(kind):
            runner = InProcessRunner(made.worker_spec(root / "gain"))
            runner.worker.rank_context.adapt(config())  # loads the model
            walk = made.walk(config(), root / "gain", orderings, runner)
            begun = time.perf_counter()
            walked(walk)
            took = time.perf_counter() - begun
        shutil.rmtree(root / "gain")
        return took

    pairs = [(trial(Live), trial(Data)) for _ in range(5)]
    return statistics.median(live / kept for live, kept in pairs)


def cost_of_command(command: list[str]) -> Cost:
    """Seconds on the clock, and of all the machine's processors."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "RAY_ADDRESS": "local",
        "PYTHONPATH": str(ROOT),
    }
    wall, cpu = time.perf_counter(), _busy()
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    cost = Cost(time.perf_counter() - wall, _busy() - cpu)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return cost


def _busy() -> float:
    times = psutil.cpu_times()
    return times.user + times.system + times.nice


def at_the_ends(root: Path, begun: float) -> tuple[float, float]:
    """Seconds of the command before the first record in its store was written, and after the last."""
    ended = time.time()
    files = (root / "storage" / "stages" / "records").rglob("*.json")
    written = [file.stat().st_mtime for file in files]
    return min(written) - begun, ended - max(written)


def records(root: Path) -> tuple[Sequence[TrialRecord], dict[str, Any]]:
    """The trials of our search, and what it shared."""
    trials = read_run_folder(root / "storage" / "ours").trials
    assert all(trial.state == "finished" for trial in trials)
    stages = [stage for trial in trials for stage in trial.stages]
    keys = {stage.key for stage in stages}
    # Joint tuning is one stage, on whatever ordering.
    walked = [m.tasks for trial in trials if trial.name != CEILING for m in trial.matrices]
    configured = sum(map(len, walked)) + 1
    trained = sum(stage.trained for stage in stages)
    assert trained == len(keys), "a stage was trained twice"
    counted = {"stages_configured": configured, "stages_trained": trained}
    parts = ("train", "keep", "score")
    spent = {p: sum(stage.seconds.get(p, 0.0) for stage in stages) for p in parts}
    counted |= {"lanes_seconds": spent}
    return trials, counted | {"stage_ratio": configured / trained}


def write_trials(root: Path, benchmark: Path, trials: Sequence[TrialRecord]) -> None:
    """What plain Tune is to run."""
    told = {
        "benchmark": str(benchmark),
        "seed": 0,
        "configs": [trial.config for trial in trials],
        "orderings": [matrix.tasks for matrix in trials[0].matrices],
    }
    (root / "trials.json").write_text(json.dumps(told))


def check(way: str, theirs: dict[str, Any], trials: Sequence[TrialRecord]) -> None:
    """The matrices of both sides must be equal."""
    assert theirs
    for which, matrices in theirs.items():
        trial = trials[int(which)]
        ours = [matrix.to_dict() for matrix in trial.matrices[: len(matrices)]]
        assert ours == matrices, f"{trial.name} has other scores with {way}"


if __name__ == "__main__":
    main()
