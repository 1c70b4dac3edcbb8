"""Samples of the numbers in a folder's weights: finite in every precision, and not all zero."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from models.folder.weight_files import Tensor
from spaces.errors import InputError

DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""Kinds of weights that can be trained, or trained beside."""
SAMPLE = 1 << 15
"""Numbers that are read at each end of a tensor."""
NAMED = 3


def check_numbers(folder: Path, tensors: Mapping[str, Tensor]) -> list[str]:
    """Return a note on matrices of zeros alone.

    Raises `InputError` if most matrices are of zeros, or a weight is not finite, also when cast to 16 bits.
    Weights are read at both ends of each tensor.
    """
    zero: list[str] = []
    matrices = 0
    for file in sorted({tensor.file for tensor in tensors.values()}):
        with safe_open(file, framework="pt") as opened:
            for name, tensor in tensors.items():
                if tensor.file != file or tensor.dtype not in DTYPES or "mask" in name:
                    continue
                parts = list(_ends(opened, name, tensor.shape))
                _check_finite(file, name, parts)
                if len(tensor.shape) > 1:
                    matrices += 1
                    zero += [name] * (not any(bool(part.any()) for part in parts))
    if 2 * len(zero) > matrices:
        raise InputError(
            f'the weights in "{folder}" must be those of a trained model, and {len(zero)} of {matrices} '
            f"matrices hold zeros alone ({_few(zero)}); copy the whole model again"
        )
    if not zero:
        return []
    return [f"{len(zero)} of the model's {matrices} matrices hold zeros alone: {_few(zero)}"]


def _check_finite(file: Path, name: str, parts: Iterable[torch.Tensor]) -> None:
    for part in parts:
        if not bool(torch.isfinite(part).all()):
            raise InputError(
                f'the weights in "{file}" must be finite, and "{name}" has NaN or infinite '
                "values; a training may have diverged: an earlier checkpoint would do"
            )
        if not bool(torch.isfinite(part.to(torch.bfloat16)).all()):
            raise InputError(
                f'the weights in "{file}" must be within the range of 16 bits (3.4e38), and "{name}" has '
                f"{float(part.abs().max()):.3g}; an earlier checkpoint would do"
            )


def _ends(opened: Any, name: str, shape: tuple[int, ...]) -> Iterable[torch.Tensor]:
    """Yield a small tensor whole, or the first and the last rows of a large one."""
    size = math.prod(shape)
    if not shape or size <= 2 * SAMPLE:
        yield opened.get_tensor(name)
        return
    rows = max(1, SAMPLE * shape[0] // size)
    part = opened.get_slice(name)
    yield part[:rows]
    yield part[shape[0] - rows :]


def _few(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
