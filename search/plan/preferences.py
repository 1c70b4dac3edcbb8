"""Costs by which one of several finalists that are not told apart is recommended."""

from __future__ import annotations

from typing import Literal, get_args

Preference = Literal["training", "memory", "latency", "mean"]
"""Seconds of training, bytes beside the model, seconds of an answer; `mean` asks for no cost."""
PREFERENCES: tuple[str, ...] = get_args(Preference)
