"""Write the best configuration of a search as best.yaml: `python search/export.py --help`."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)

from search.commands import export

if __name__ == "__main__":
    sys.exit(export())
