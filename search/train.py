"""Train a best.yaml: `python search/train.py --help`."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)

from search.commands import train

if __name__ == "__main__":
    sys.exit(train())
