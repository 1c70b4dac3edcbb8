"""The cost of a kill, and of a second identical search.

    python -m benchmarks.speed.restart

A search is killed with signal 9 when half of its stages are there, and resumed; then the same search is run
under another name on the same storage.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.speed.measure import PAIRS, Result, exact, say
from benchmarks.speed.plain_tune import ROOT
from benchmarks.speed.small import small, write_plan

LANES = 2


def main() -> None:
    """Measure, and print two lines."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        own = {"orderings": "given+reverse", "samples": 4, "confirm": 0, "concurrent": LANES}
        write_plan(root / "plan.yaml", small(root / "data", 96, 32).benchmark, **own)
        begin = ["--plan", str(root / "plan.yaml"), "--name"]
        whole = len(distinct(run(root, *begin, "whole", storage="undisturbed")))
        under_way = killed_at(root, whole // 2, *begin, "cut")
        before = stages(root / "cut")
        run(root, "--resume", storage="cut")
        after = stages(root / "cut")
        assert {key: after[key] for key in before} == before, "a stage was made again"
        assert len(after) == whole
        lost = under_way & after.keys() - before.keys()
        exact(
            "stages lost by a kill",
            len(lost) / LANES,
            "<= 1",
            "stages of each lane",
            stages=whole,
            there_at_the_kill=len(before),
        ).tell()
        pairs = []
        for number in range(PAIRS):
            name = f"again-{number + 1}"
            start = time.perf_counter()
            run(root, *begin, name, storage="undisturbed")
            took = time.perf_counter() - start
            assert len(stages(root / "undisturbed")) == whole, "the second search trained"
            start = time.perf_counter()
            run(root, "--resume", "--name", name, storage="undisturbed")
            pairs.append((took, time.perf_counter() - start))
            say(f"second search {took:.1f} s, a start with nothing to do {pairs[-1][1]:.1f} s")
        beyond = [took - idle for took, idle in pairs]
        Result(
            "second identical search",
            statistics.median(beyond),
            min(beyond),
            max(beyond),
            "<= 5",
            "s beyond a start with nothing to do",
            {
                "seconds": statistics.median(took for took, _ in pairs),
                "start_seconds": statistics.median(idle for _, idle in pairs),
                "stages_trained": 0,
                "pairs": PAIRS,
            },
        ).tell()


def command(root: Path, *flags: str, storage: str) -> list[str]:
    return [sys.executable, str(ROOT / "search/run.py"), *flags, "--storage", str(root / storage)]


def run(root: Path, *flags: str, storage: str) -> Path:
    """Run a search to its end; return its storage."""
    done = subprocess.run(
        command(root, *flags, storage=storage), env=env(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return root / storage


def killed_at(root: Path, count: int, *flags: str) -> set[str]:
    """Begin the search in the storage `cut`, and kill it when so many stages are there.

    Returns the keys of what was being made just then, as the leases say.
    """
    begun, nowhere = command(root, *flags, storage="cut"), subprocess.DEVNULL
    process = subprocess.Popen(begun, env=env(), stdout=nowhere, stderr=nowhere)
    while len(stages(root / "cut")) < count:
        assert process.poll() is None, "it was over before it could be killed"
        time.sleep(0.05)
    under_way = {file.name for file in (root / "cut" / "stages" / "leases").glob("[0-9a-f]*")}
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(10)  # Ray's processes notice that their driver is gone
    return under_way


def env() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "RAY_ADDRESS": "local"}


def stages(storage: Path) -> dict[str, int]:
    """Return the time at which each trained stage was written, by key."""
    found = {}
    for file in (storage / "stages" / "records").rglob("*.json"):
        if json.loads(file.read_text()).get("kind") == "trained":
            found[file.stem] = file.stat().st_mtime_ns
    return found


def distinct(storage: Path) -> set[str]:
    return set(stages(storage))


if __name__ == "__main__":
    main()
