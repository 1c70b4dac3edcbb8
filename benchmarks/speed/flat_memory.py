"""Memory of a worker over two hundred stages: engines come and go, and nothing stays.

python -m benchmarks.speed.flat_memory
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from pathlib import Path

import psutil

from benchmarks.speed.measure import Result, say
from benchmarks.speed.small import TASKS, config, one_thread, small
from trainables.trial import PanelTrial

STAGES, FIRST = 200, 20


def main() -> None:
    """Train, and print the line."""
    one_thread()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        made = small(root / "data", 24, 8)
        chosen = [config(), config({"name": "ewc", "strength": 1e3})]
        first = made.walk(chosen[0], root / "stages", [TASKS])
        sizes, done, number = [], 0, 0
        while done < STAGES:
            fingerprints = dataclasses.replace(
                made.fingerprints, model=f"{made.fingerprints.model}-{number}"
            )
            walk = PanelTrial(
                chosen[number % 2], first.panel, fingerprints, first.store, first.runner
            )
            while not walk.finished:
                walk.step()
                done += 1
                sizes.append(psutil.Process().memory_info().rss)
            shutil.rmtree(root / "stages")
            number += 1
            say(f"{done} stages: {sizes[-1] / 1e6:.0f} MB")
        early, late = max(sizes[:FIRST]), max(sizes[-FIRST:])
        Result(
            "memory after 200 stages",
            late / early,
            late / early,
            late / early,
            "<= 1.05",
            f"times that of the first {FIRST}",
            {"early_mb": early / 1e6, "late_mb": late / 1e6, "stages": done},
        ).tell()


if __name__ == "__main__":
    main()
