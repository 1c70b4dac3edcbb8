"""Confirm a finished search on fresh orderings and seeds: `python search/confirm.py --help`."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)

from search.commands import confirm

if __name__ == "__main__":
    sys.exit(confirm())
