"""Plain sequential instruction tuning."""

from __future__ import annotations

from dataclasses import dataclass

from strategies.strategy import Strategy


@dataclass
class Finetune(Strategy):
    """One task after the other and nothing against forgetting: the floor of every comparison."""

    name = "finetune"
