"""The imports of a rank, and its end: with garbage looked for rarely, over Python's own thresholds.

python -m benchmarks.speed.imports
"""

from __future__ import annotations

import subprocess
import sys

from benchmarks.speed.measure import compared, in_turns
from benchmarks.speed.plain_tune import ROOT

RARELY = "from trainables.collector import rarely; rarely(); "
IMPORTS = "import trainables.worker"


def main() -> None:
    """Measure, and print a line."""
    pairs = in_turns(lambda: run(RARELY + IMPORTS), lambda: run(IMPORTS))
    compared("imports of a rank", pairs, "<= 1", "times those with Python's thresholds").tell()


def run(code: str) -> None:
    command = [sys.executable, "-W", "ignore", "-c", code]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)


if __name__ == "__main__":
    main()
