"""Precision, attention and checkpointing of a base model in memory."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from spaces.errors import InputError

PACKAGES = {"flash_attention_2": "flash_attn"}
"""Packages that implementations of attention need."""


@dataclass(frozen=True)
class Loading:
    """Decisions made when the weights are loaded, from the knobs of `Training`."""

    precision: str = "fp32"
    attention: str = "auto"
    base_bits: int = 16
    checkpointing: bool = False
    reentrant: bool = False
    """True for ZeRO-3: non-reentrant checkpointing keeps weights that ZeRO-3 has released."""


def check_loading(loading: Loading) -> None:
    """Raise `InputError` if a package is missing that a knob needs."""
    package = PACKAGES.get(loading.attention)
    if package and not importlib.util.find_spec(package):
        raise InputError(
            f"training.attention {loading.attention} needs the package {package}, which is not "
            "installed; sdpa would do"
        )
    if loading.base_bits == 4 and not importlib.util.find_spec("bitsandbytes"):
        raise InputError(
            "training.base_bits 4 needs the package bitsandbytes, which is not installed: "
            "pip install -e '.[qlora]', or base_bits 16"
        )
