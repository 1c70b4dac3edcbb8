"""The parts of the time of a lane's stage, with a flame graph.

    python -m benchmarks.speed.lane_profile

Looks into a warm lane's worker with py-spy while it makes stage after stage, and writes
`docs/lane_stage.svg` and `lane_profile.json` beside this file; `bench.py --page` tells the latter.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import psutil

from benchmarks.speed.measure import say
from benchmarks.speed.small import TASKS, config, small, walked
from trainables.trial import PanelTrial

ROOT = Path(__file__).resolve().parents[2]
FILE = Path(__file__).parent / "lane_profile.json"
GRAPH = ROOT / "docs" / "lane_stage.svg"
SECONDS, RATE = 40, 50
PARTS = {
    "answering: generation": ("generate_answers (trainables/rank/evaluate.py",),
    "scoring the answers": ("score_record (trainables/rank/evaluate.py",),
    "backward pass": ("backward (trainables/rank/engine.py",),
    "optimizer": ("step (trainables/rank/engine.py",),
    "forward pass": ("answer_logits (",),
    "loss, and what the strategy adds": (
        "_forward_backward (trainables/rank/loop.py",
        "_train_batch (trainables/rank/loop.py",
    ),
    "engine made and closed": ("open_engine (trainables/rank/engine.py", "initialize (deepspeed"),
    "publishing, reading weights": ("(trainables/store/stage_store.py",),
    "waiting for the next job": ("get (ray/_private",),
}
"""A stack counts for the first of these of which a frame is in it."""


def main() -> None:
    """Profile, and write both files."""
    import ray

    from benchmarks.paper_claims import machine
    from search.resources.cluster import connect
    from trainables.lanes.lane import Lane

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        made, chosen = small(root / "data"), config({"name": "replay", "ratio": 0.1})
        connect(2)
        lane = Lane(made.worker_spec(root / "stages"), 1, root / "lanes")
        rounds, over, spent = iter(range(10_000)), threading.Event(), []

        def stages() -> None:
            # A seed of its own for each round: nothing of it is in the store yet.
            walk = made.walk(chosen, root / "stages", [TASKS], lane)
            fingerprints = dataclasses.replace(made.fingerprints, model=f"round {next(rounds)}")
            begun = time.perf_counter()
            walk = walked(PanelTrial(chosen, walk.panel, fingerprints, walk.store, lane))
            spent.append((time.perf_counter() - begun) / len(walk.stages))

        def forever() -> None:
            while not over.is_set():
                stages()

        stages()
        spent.clear()
        worker = threading.Thread(target=forever)
        worker.start()
        stacks = root / "stacks"
        recorded(lane_worker(), stacks, "raw")
        recorded(lane_worker(), GRAPH, "flamegraph")
        over.set()
        worker.join()
        lane.close()
        ray.shutdown()
        told = {"machine": machine(), "stage_seconds": sum(spent) / len(spent)}
        FILE.write_text(json.dumps(told | {"parts": parts(stacks)}, indent=1) + "\n")
    say(FILE.read_text())


def lane_worker() -> int:
    """Find the process of the lane's rank."""
    for process in psutil.Process().children(recursive=True):
        if "TrainWorker" in " ".join(process.cmdline()):
            return process.pid
    raise AssertionError("there must be a lane's worker")


def recorded(pid: int, file: Path, kind: str) -> None:
    """Look into a process for `SECONDS`."""
    flags = ["--pid", str(pid), "--output", str(file), "--format", kind, "--nolineno"]
    flags += ["--duration", str(SECONDS), "--rate", str(RATE)]
    subprocess.run(["py-spy", "record", *flags], check=True, capture_output=True)


def parts(stacks: Path) -> dict[str, float]:
    """Share of each part, the largest first; lines are `frame;frame;... count`."""
    found: Counter[str] = Counter()
    for line in stacks.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        if "serve (trainables/lanes/lane.py" not in stack:
            continue  # Ray's own threads
        names = (n for n, marks in PARTS.items() if any(mark in stack for mark in marks))
        found[next(names, "the rest")] += int(count)
    return {name: round(n / found.total(), 4) for name, n in found.most_common()}


if __name__ == "__main__":
    main()
