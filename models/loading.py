"""A folder's weights, read into a stock model."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, BitsAndBytesConfig

from spaces.errors import InputError
from spaces.loading import Loading

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
NOT_PACKED = (
    *("lm_head", "vision_tower", "vision_model", "visual", "qformer"),
    *("multi_modal_projector", "language_projection", "connector"),
)
PACKAGES = {"flash_attention_2": "flash_attn"}


def load_base(folder: Path, loading: Loading) -> Any:
    """The model in `folder`, in evaluation mode; raises `InputError` as `check_loading` does."""
    check_loading(loading)
    options: dict[str, Any] = {"dtype": DTYPES[loading.precision]}
    if loading.attention != "auto":
        options["attn_implementation"] = loading.attention
    if loading.base_bits == 4:
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=DTYPES[loading.precision],
            # Only the language model is worth it: what else there is may be trained itself.
            llm_int8_skip_modules=list(NOT_PACKED),
        )
    base: Any = AutoModelForImageTextToText.from_pretrained(folder, **options).eval()
    if loading.checkpointing:
        base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return base


def check_loading(loading: Loading) -> None:
    """Raise `InputError` where a package is missing that a knob needs."""
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
