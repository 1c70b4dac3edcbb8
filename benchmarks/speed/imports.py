"""The imports of a rank, and its end: with garbage looked for rarely, over Python's own thresholds.

python -m benchmarks.speed.imports
"""

from __future__ import annotations

import statistics
import subprocess
import sys

from benchmarks.speed.measure import Result, in_turns
from benchmarks.speed.plain_tune import ROOT

RARELY = "from trainables.rank.gc_policy import collect_rarely; collect_rarely(); "
IMPORTS = "import trainables.rank.worker"


def main() -> None:
    """Measure, and print a line."""
    pairs = in_turns(lambda: run(RARELY + IMPORTS), lambda: run(IMPORTS))
    sides = [[cost.wall for cost in side] for side in zip(*pairs, strict=True)]
    ratios = [rare / own for rare, own in zip(*sides, strict=True)]
    parts = {"wall_seconds": [statistics.median(side) for side in sides], "pairs": len(pairs)}
    unit = "times those with Python's thresholds"
    ratio, low, high = statistics.median(ratios), min(ratios), max(ratios)
    Result("imports of a rank", ratio, low, high, "<= 1", unit, parts).tell()


def run(code: str) -> None:
    command = [sys.executable, "-W", "ignore", "-c", code]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)


if __name__ == "__main__":
    main()
