"""Python's garbage collector, while there is no garbage.

Torch, transformers, peft, DeepSpeed and Ray make half a million objects when they are imported, all of
which live as long as the process. With Python's own thresholds it looks for garbage among them again and
again, and once more when the process ends: `benchmarks/speed/imports.py` measures what that costs.
"""

from __future__ import annotations

import atexit
import gc

OWN = gc.get_threshold()
RARE = (50_000, 20, 100)


def collect_rarely() -> None:
    """Look for garbage seldom, and not at the end: how every process of a search begins."""
    gc.set_threshold(*RARE)
    atexit.unregister(gc.freeze)  # once, however often this is called
    atexit.register(gc.freeze)


def collect_as_usual() -> None:
    """Look as often as Python does: training leaves garbage that holds tensors."""
    gc.set_threshold(*OWN)
