"""Search for the best strategy: `python search/run.py --help`."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)

from search.cli import main

if __name__ == "__main__":
    sys.exit(main())
