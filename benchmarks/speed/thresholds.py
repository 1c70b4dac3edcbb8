"""The number of different runs that fifty thresholds of eproj make on one ordering.

    python -m benchmarks.speed.thresholds

A threshold acts through what it decides: the stages are counted by their keys, which hold the decisions
and not the threshold. The similarities are those of the embedded tasks.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.speed.measure import exact
from benchmarks.speed.small import TASKS, config, one_thread, small

COUNT = 50


def main() -> None:
    """Count, and print the line."""
    one_thread()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        made = small(root / "data")
        runner, runs = None, set()
        for number in range(COUNT):
            chosen = config({"name": "eproj", "threshold": number / (COUNT - 1)})
            walk = made.walk(chosen, root / "stages", [TASKS], runner)
            runner = walk.runner
            walk.embed_tasks()
            runs.add(tuple(walk.key(path) for path in walk.paths))
        stages = {key for run in runs for key in run}
        exact(
            "thresholds of eproj",
            len(runs),
            f"<= {len(TASKS)}",
            f"distinct runs of {COUNT} thresholds",
            stages_configured=COUNT * len(TASKS),
            stages_distinct=len(stages),
        ).tell()


if __name__ == "__main__":
    main()
