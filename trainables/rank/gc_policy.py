"""Thresholds of Python's garbage collector, for processes with half a million lasting objects.

Torch, transformers, peft, DeepSpeed and Ray make these objects at their import, and they live as long
as the process. With Python's own thresholds the collector visits them again and again, and once more
when the process ends: `benchmarks/speed/imports.py` measures the cost.
"""

from __future__ import annotations

import atexit
import gc

PYTHON_DEFAULT = gc.get_threshold()
RARE = (50_000, 20, 100)
"""Thresholds of the three generations for processes that hardly make garbage."""


def collect_rarely() -> None:
    """Collect garbage rarely, and not at the end of the process.

    Every process of a search calls this first.
    """
    gc.set_threshold(*RARE)
    atexit.unregister(gc.freeze)  # so that it is registered once, however often this is called
    atexit.register(gc.freeze)


def collect_as_usual() -> None:
    """Collect garbage as often as Python does by default: training leaves garbage that holds tensors."""
    gc.set_threshold(*PYTHON_DEFAULT)
