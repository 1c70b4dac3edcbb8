"""Delete stages that no search needs: `python search/clean.py --help`."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)

from search.commands import clean

if __name__ == "__main__":
    sys.exit(clean())
