"""How often is a search's answer right? Simulated searches with known truth.

    python benchmarks/calibration.py simulate --searches 1000 --units 8

prints the coverage of intervals, how often equal strategies are told apart, and which gaps are found.
Every component of the model is a flag, so that it can be fitted to real runs.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

from benchmarks.calibration.simulate import Components, report  # noqa: E402  # after the path is set


def parser() -> argparse.ArgumentParser:
    """The flags."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = p.add_subparsers(dest="command", required=True)
    simulate = commands.add_parser("simulate", help="searches whose truth is known")
    simulate.add_argument("--searches", type=int, default=1000)
    simulate.add_argument("--units", type=int, default=8, help="units of a confirmation at most")
    for field in dataclasses.fields(Components):
        kind = type(field.default)
        simulate.add_argument(f"--{field.name.replace('_', '-')}", type=kind, default=field.default)
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Print the figures; returns the exit status."""
    args = vars(parser().parse_args(argv))
    args.pop("command")
    searches, units = args.pop("searches"), args.pop("units")
    report(Components(**args), searches, units)
    return 0


if __name__ == "__main__":
    sys.exit(main())
