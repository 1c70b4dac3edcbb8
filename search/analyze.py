"""Write the tables and the report of a search again: `python search/analyze.py --help`."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)

from search.commands import analyze

if __name__ == "__main__":
    sys.exit(analyze())
