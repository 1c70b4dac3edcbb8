"""Kill processes of one search at random moments; at the end its tables must be as if nothing had been.

`python benchmarks/kills.py --kills 30` searches a toy twice: undisturbed, and with kills by signal 9
of the driver, a trial, a lane's controller, a rank, a mailbox, the raylet and Ray's control process.
Whatever ends the search is answered by `--resume`, as a user would.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import yaml

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from search.results.tables import TIME_COLUMNS  # noqa: E402
from spaces.references import REFERENCES  # noqa: E402
from trainables.testing.toy import ADAPTER, TRAINING  # noqa: E402
from trainables.testing.toy_benchmark import write_llava, write_toy_benchmark  # noqa: E402

MARK = "CITUNE_KILLS"
NAMES = {
    "trial": "ray::StageTrainable",
    "controller": "ray::TrainController",
    "rank": "ray::RayTrainWorker",
    "mailbox": "ray::Mailbox",
    "raylet": "raylet",
    "gcs": "gcs_server",
}
"""Start of the title of each kind of process."""
KINDS = ("driver", *NAMES)
LOSES_LANE = ("trial", "controller", "rank", "mailbox")
"""Kinds whose second death in a trial and a session ends the trial until --resume."""
TABLES = ("trials", "cells", "strategies")


@dataclass
class Kill:
    """One kill, and what came of it."""

    second: float
    """Seconds since the search began."""
    kind: str
    trials: str
    """Trials that had a record by then, with their stages done."""
    outcome: str = ""


def main(argv: Sequence[str] | None = None) -> int:
    """Search undisturbed and with kills, and compare; returns 0 if the tables are equal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=ROOT / "results" / "kills")
    parser.add_argument("--samples", type=int, default=14, help="trials beside the references")
    args = parser.parse_args(argv)
    work = args.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    plan = write_plan(work, args.samples)
    if not (work / "whole" / "it" / "report.html").exists():
        run(plan, work / "whole", work / "whole.log")
    kills = list(disturbed(plan, work / "cut", work / "cut.log", args.kills, args.seed))
    if len(kills) < args.kills:
        print(f"the search ended before {args.kills} kills: more --samples would do")
    print(table(kills))
    different = [name for name in TABLES if rows(work / "whole", name) != rows(work / "cut", name)]
    print(
        f"{len(kills)} kills; tables that differ from the undisturbed run's: {different or 'none'}"
    )
    return int(bool(different) or len(kills) < args.kills)


def write_plan(work: Path, samples: int) -> Path:
    """Write toy data, a model and a sequential plan whose proposals do not depend on results."""
    benchmark, model = work / "toy", work / "llava"
    if not benchmark.exists():
        write_toy_benchmark(benchmark)
        write_llava(model)
    plan = {
        **{"benchmark": str(benchmark), "model": str(model), "tasks": ["hue", "light", "half"]},
        **{"orderings": "all", "strategies": ["replay", "ewc"], "samples": samples, "confirm": 0},
        **{"training": TRAINING, "adapter": ADAPTER, "concurrent": 1, "stopping": "none"},
        "space": {"replay.ratio": {"low": 0.1, "high": 0.3}},
    }
    path = work / "plan.yaml"
    path.write_text(yaml.safe_dump(plan))
    return path


def command(plan: Path, storage: Path) -> list[str]:
    """Return the command that begins a search, or goes on with it."""
    begun = (storage / "it" / "plan.json").exists()
    how = ["--resume"] if begun else ["--plan", str(plan)]
    start = [sys.executable, str(ROOT / "search" / "run.py"), *how]
    return [*start, "--name", "it", "--storage", str(storage)]


def start(plan: Path, storage: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start or resume a search."""
    environment = {**os.environ, "RAY_ADDRESS": "local", MARK: str(storage)}
    environment |= {"OMP_NUM_THREADS": "1"}
    with open(log, "ab") as file:
        return subprocess.Popen(command(plan, storage), env=environment, stdout=file, stderr=file)


def run(plan: Path, storage: Path, log: Path) -> int:
    """Run a search to its end; return its exit status."""
    return start(plan, storage, log).wait()


def disturbed(plan: Path, storage: Path, log: Path, count: int, seed: int) -> Iterator[Kill]:
    """Run a search with `count` kills, resumed whenever it ends; yield the kills."""
    draw, begun, made = random.Random(seed), time.monotonic(), 0
    process, order = start(plan, storage, log), kinds(count, draw)
    lost: set[str] = set()
    killed: Counter[str] = Counter()
    while True:
        if process.poll() is not None:
            print(f"# session ended: {process.returncode}", flush=True)
            end_left(storage)
            if process.returncode in (0, 1) and is_over(plan, storage):
                return
            process, lost = start(plan, storage, log), set()
        if made >= count:
            time.sleep(0.5)
            continue
        kind = order[made]
        stage = progress(storage)
        if kind in LOSES_LANE and stage.partition(" ")[0] in lost:
            kind = draw.choice(["driver", "raylet", "gcs"])  # a second loss would wait for --resume
        elif kind in LOSES_LANE:
            kind = min(LOSES_LANE, key=lambda one: (killed[one], order.index(one)))
        victim = find(process.pid, kind)
        if victim is None:
            time.sleep(0.2)
            continue
        time.sleep(draw.uniform(0.0, 3.0))  # its moment is random
        if not victim.is_running() or process.poll() is not None:
            continue
        stage = progress(storage)
        victim.kill()
        made += 1
        killed[kind] += 1
        lost |= {stage.partition(" ")[0]} if kind in LOSES_LANE else set()
        kill = Kill(time.monotonic() - begun, kind, stage)
        kill.outcome = outcome(process, victim)
        print(f"{made:3d} {kill.second:7.0f} s  {kind:10s} {stage:24s} {kill.outcome}", flush=True)
        yield kill


def is_over(plan: Path, storage: Path) -> bool:
    """Return True if every trial of the search has ended, and its report is written."""
    trials = yaml.safe_load(plan.read_text())["samples"] + len(REFERENCES)
    records = [json.loads(f.read_text()) for f in (storage / "it" / "trials").glob("*.json")]
    ended = [one for one in records if one["state"] != "running"]
    return len(ended) == trials and (storage / "it" / "report.html").exists()


def kinds(count: int, draw: random.Random) -> list[str]:
    """Return which process each kill is for: every kind in turn, in random order."""
    order: list[str] = []
    while len(order) < count:
        order += draw.sample(KINDS, len(KINDS))
    return order[:count]


def find(driver: int, kind: str) -> psutil.Process | None:
    """Return a process of a kind below the driver, or the driver itself."""
    try:
        root = psutil.Process(driver)
        if kind == "driver":
            return root
        for process in root.children(recursive=True):
            title = process.name() if kind in ("raylet", "gcs") else "".join(process.cmdline()[:1])
            dead = process.status() == psutil.STATUS_ZOMBIE  # killed before, and not reaped yet
            if title.startswith(NAMES[kind]) and not dead:
                return process
    except psutil.Error:
        return None
    return None


def outcome(process: subprocess.Popen[bytes], victim: psutil.Process) -> str:
    """Return what a kill led to, as seen some seconds later."""
    before = process.pid
    end = time.monotonic() + 8
    while time.monotonic() < end:
        if process.poll() is not None:
            return "the search ended; --resume"
        if victim.pid != before and find(before, "raylet") is None:
            return "Ray ended; a new one in the same search"
        time.sleep(0.2)
    return "the search goes on"


def progress(storage: Path) -> str:
    """Return the trial under way and its stages done, as far as its record tells."""
    files = sorted((storage / "it" / "trials").glob("*.json"), key=lambda f: f.stat().st_mtime)
    stages = len(list((storage / "stages" / "records").rglob("*.json")))
    return f"{files[-1].stem if files else '-'} ({stages} records)"


def end_left(storage: Path) -> None:
    """End what a killed driver left behind, as its machine's user would find it after a minute."""
    end = time.monotonic() + 60
    while time.monotonic() < end and list(marked(storage)):
        time.sleep(0.5)
    for process in marked(storage):
        print(f"# left behind: {process}", flush=True)
        process.kill()


def marked(storage: Path) -> Iterator[psutil.Process]:
    """Yield the processes of a search."""
    for process in psutil.process_iter():
        try:
            alive = process.status() != psutil.STATUS_ZOMBIE
            if alive and process.environ().get(MARK) == str(storage):
                yield process
        except psutil.Error:
            continue


def rows(storage: Path, name: str) -> list[dict[str, Any]]:
    """Return a table without its columns of time."""
    with pa.memory_map(str(storage / "it" / "tables" / f"{name}.arrow")) as source:
        found = pa.ipc.open_file(source).read_all().to_pylist()
    return [{k: v for k, v in row.items() if k not in TIME_COLUMNS} for row in found]


def table(kills: Sequence[Kill]) -> str:
    """Return the kills as a table."""
    lines = ["kill  second  process     trial (records)           what happened"]
    for number, kill in enumerate(kills, 1):
        lines.append(
            f"{number:4d} {kill.second:7.0f}  {kill.kind:10s}  {kill.trials:24s}  {kill.outcome}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
