"""Weights of a model folder against its stock class: nothing is drawn at random, nothing is left over.

Transformers loads tensors without contents, by its own rules: renamed and converted names, tied weights,
names that it ignores. Its report is the result. Only headers and samples of the files are read.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, GenerationConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
from transformers.utils import logging as transformers_logging

from models.folder.files import folder_config
from models.folder.numbers import DTYPES, check_numbers
from models.folder.weight_files import Tensor, tensors_of, unread_notes, weight_files
from spaces.errors import InputError, first_line

transformers_logging.disable_progress_bar()

COUNTERS = ("I64", "I32", "BOOL")
"""Kinds of buffers that older files hold, such as positions."""
PACKED = ("qweight", "qzeros", "weight_scale", "weight_packed", "absmax", "SCB")
"""Parts of the names of quantised weights."""
NAMED = 3
"""Names in an error, of each kind."""


def check_weights(folder: Path) -> None:
    """Raise `InputError` unless the folder's weights are those of its class, no more and no fewer.

    The first and last 32,768 numbers of each tensor are read; they must be finite, and not all zero.
    """
    weight_notes(folder)


def weight_notes(folder: Path) -> tuple[str, ...]:
    """Return notes on weights that can be read and may be wrong; raise `InputError` as `check_weights`."""
    files = weight_files(folder, folder_config(folder))
    stats = tuple((str(file), file.stat().st_mtime_ns) for file in (folder / "config.json", *files))
    return _check_once(folder, stats)


@functools.lru_cache(maxsize=64)
def _check_once(folder: Path, stats: tuple[tuple[str, int], ...]) -> tuple[str, ...]:
    files = weight_files(folder, folder_config(folder))
    tensors = tensors_of(files)
    _check_kinds(folder, tensors)
    check_report(folder, _report(folder, tensors))
    return (*check_numbers(folder, tensors), *unread_notes(folder, files))


def _check_kinds(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Raise `InputError` for weights that are packed into integers or 8-bit floats."""
    packed = [
        f"{name} ({tensor.dtype})"
        for name, tensor in tensors.items()
        if tensor.dtype not in (*DTYPES, *COUNTERS)
        or name.rpartition(".")[2] in PACKED
        or (tensor.dtype in COUNTERS and name.endswith((".weight", ".bias")))
    ]
    if packed:
        raise InputError(
            f'the model in "{folder}" must have weights of 16 or 32 bits, and {len(packed)} are quantised: '
            f"{_few(packed)}; the model that it was made from would do, which training.base_bits 4 packs "
            "as it is loaded"
        )


def _report(folder: Path, tensors: Mapping[str, Tensor]) -> Mapping[str, Collection[Any]]:
    """Return what transformers reports on loading tensors of these names and shapes."""
    empty = {
        name: torch.empty(tensor.shape, dtype=DTYPES.get(tensor.dtype, torch.int64), device="meta")
        for name, tensor in tensors.items()
    }
    config = read_config(folder)
    try:
        kind: Any = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING[type(config)]
        _, report = kind.from_pretrained(
            None,
            config=config,
            state_dict=empty,
            device_map="meta",
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except Exception as error:  # settings that fit no class, or tensors that cannot be converted
        raise InputError(
            f'"{folder / "config.json"}" must describe a model that transformers can build and load, and '
            f"does not: {type(error).__name__}: {first_line(error)[:300]}; copy it from the original model"
        ) from error
    return report


def read_config(folder: Path) -> Any:
    """Return transformers' own configuration; raise `InputError` if it refuses the files."""
    try:
        config: Any = AutoConfig.from_pretrained(folder)
        if (folder / "generation_config.json").is_file():
            GenerationConfig.from_pretrained(folder)
    except Exception as error:
        lines = "; ".join(line.strip() for line in str(error).splitlines()[:3] if line.strip())
        raise InputError(
            f'config.json and generation_config.json in "{folder}" must be settings that transformers '
            f"takes, and are not: {type(error).__name__}: {lines[:300]}; copy them from the original model"
        ) from error
    return config


def check_report(folder: Path, report: Mapping[str, Collection[Any]]) -> None:
    """Raise `InputError` if transformers reports missing, unexpected or misshapen weights."""
    missing, unexpected = sorted(report["missing_keys"]), sorted(report["unexpected_keys"])
    misshapen = [
        f"{name} {tuple(got)} instead of {tuple(wanted)}"
        for name, got, wanted in sorted(report["mismatched_keys"], key=lambda key: key[0])
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "of another shape": misshapen}
    faults = [f"{len(names)} {kind} ({_few(names)})" for kind, names in kinds.items() if names]
    if faults:
        raise InputError(
            f'the weights in "{folder}" must be those of the class that config.json names, and are not: '
            f"{', '.join(faults)}. Missing weights would be drawn at random and unexpected ones left out; "
            f"{_remedy(missing, unexpected, misshapen)}"
        )


def _remedy(missing: list[str], unexpected: list[str], misshapen: list[str]) -> str:
    """Return what would do, by the kind of fault."""
    if any(name.endswith(PACKED) for name in unexpected):
        return "the weights are quantised: the model that they were made from would do"
    if any("lora_" in name or "base_layer" in name for name in unexpected):
        return (
            "an adapter was saved inside them: merge it (merge_and_unload of peft) and write the model "
            "with save_pretrained"
        )
    if missing and unexpected:
        return (
            "the names are those of another class or layout: the converted folder would do "
            "(such as the -hf one of the hub), or save_pretrained of the stock class"
        )
    if misshapen:
        return (
            "config.json belongs to another model, or the weights were saved in parts (DeepSpeed ZeRO 3): "
            "copy both from one source, or write the whole with zero_to_fp32.py and save_pretrained"
        )
    return "copy the whole model again, or write it with save_pretrained of the stock class"


def _few(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
