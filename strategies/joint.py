"""Joint instruction tuning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from strategies.strategy import Strategy


@dataclass
class Joint(Strategy):
    """Train on all tasks at once: the ceiling, always run, which needs all data at the same time."""

    name = "joint"
    is_reference = True

    def curriculum(self, ordering: Sequence[str]) -> tuple[tuple[str, ...], ...]:
        """Return one stage on the union of the tasks, sorted: the same stage for every ordering."""
        return (tuple(sorted(ordering)),)
