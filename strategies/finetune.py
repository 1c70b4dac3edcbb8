"""Plain sequential instruction tuning."""

from __future__ import annotations

from dataclasses import dataclass

from strategies.strategy import Strategy


@dataclass
class Finetune(Strategy):
    """Train one task after the other, with nothing against forgetting: the floor, always run."""

    name = "finetune"
