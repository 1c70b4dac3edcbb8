"""Four trials at once: the stages that were trained over those that are distinct.

python -m benchmarks.speed.concurrent_trials
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.speed.measure import Result, exact
from benchmarks.speed.plain_tune import ROOT
from benchmarks.speed.small import small, write_plan
from search.results.run_folder import read_run_folder

LANES, SAMPLES = 4, 6
PARTS = ("train", "keep", "score")


def main() -> None:
    """Search, count, and print two lines."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        own = {"orderings": "shared:4", "samples": SAMPLES, "confirm": 0, "concurrent": LANES}
        write_plan(root / "plan.yaml", small(root / "data", 96, 32).benchmark, **own)
        script = str(ROOT / "search" / "run.py")
        flags = ["--plan", str(root / "plan.yaml"), "--storage", str(root), "--name", "four"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_ADDRESS": "local"}
        command = [sys.executable, script, *flags]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        trials = read_run_folder(root / "four").trials
        stages = [stage for trial in trials for stage in trial.stages]
        trained = sum(stage.trained for stage in stages)
        keys = {stage.key for stage in stages}
        assert trained >= len(keys), "a stage came from nowhere: the storage was new"
        exact(
            "stages trained by four trials at once",
            trained / len(keys),
            "<= 1.00",
            "times the distinct ones",
            trained=trained,
            distinct=len(keys),
            wanted=len(stages),
        ).tell()
        every = [*stages, *(trial.before for trial in trials if trial.before)]
        waited = sum(cost.waited for cost in every)
        worked = sum(cost.seconds.get(p, 0.0) for cost in every for p in PARTS)
        share = waited / (waited + worked)
        parts = {"waited_seconds": waited, "worked_seconds": worked}
        Result(
            "waiting for another's stage", share, share, share, "<= 0.02", "of lane time", parts
        ).tell()


if __name__ == "__main__":
    main()
