"""Print what comes out of each reported fault, for one or several checkouts.

    python -m tests.faults [CHECKOUT ...]

Each checkout gets a column; without any, this one. The table is Markdown.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.faults.case import CHECKOUT, Case
from tests.faults.table import CASES


def cell(case: Case, checkout: Path, folder: Path) -> str:
    """Return `right` or `wrong`, and what the command said last."""
    outcome = case.run(folder, checkout)
    verdict = "wrong" if case.faults(outcome) else "right"
    line = outcome.last_line.replace(str(folder), "").replace("|", "/")
    return f"{verdict}: {outcome.status}, {line[:160]}"


def main(checkouts: list[Path]) -> None:
    """Print the table."""
    print("| case |", " | ".join(place.name for place in checkouts), "|")
    print("| --- " * (len(checkouts) + 1) + "|")
    with tempfile.TemporaryDirectory() as root:
        for case in CASES:
            places = [Path(root) / f"{case.name}-{i}" for i in range(len(checkouts))]
            cells = [cell(case, *both) for both in zip(checkouts, places, strict=True)]
            print(f"| {case.name} |", " | ".join(cells), "|", flush=True)


main([Path(place).resolve() for place in sys.argv[1:]] or [CHECKOUT])
