"""How a base model is held in memory."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Loading:
    """What is decided when the weights are read; the knobs are fields of `Training`."""

    precision: str = "fp32"
    attention: str = "auto"
    base_bits: int = 16
    checkpointing: bool = False
