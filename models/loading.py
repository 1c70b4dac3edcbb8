"""Weights of a model folder, read into a stock model."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, BitsAndBytesConfig

from models.family import Family
from models.folder.weights import check_report
from models.location import folder_family
from spaces.loading import Loading, check_loading

# peft uses a name that transformers has changed.
warnings.filterwarnings("ignore", ".*gradient_checkpointing", FutureWarning)

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
IMAGES_PER_CALL = 8
"""Images per call of the vision tower. The last bits of sums may differ with the size of a batch. All calls
have this size where shapes allow, so that an image's features do not depend on its batch."""
CACHE_BYTES, MOST_ANSWERS = 2e9, 64


def load_base(folder: Path, loading: Loading) -> Any:
    """Load the model in `folder`, in evaluation mode.

    Raises `InputError` as `check_loading` does, and for weights that are missing or left over.
    """
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
            # Only the language model is worth it: all other parts may be trained themselves.
            llm_int8_skip_modules=unquantised(folder_family(folder)),
        )
    load: Any = AutoModelForImageTextToText.from_pretrained
    base, report = load(folder, use_safetensors=True, output_loading_info=True, **options)
    check_report(folder, report)  # the folder may have changed since the search began
    base.eval()
    if loading.checkpointing:
        base.gradient_checkpointing_enable({"use_reentrant": loading.reentrant})
    if loading.reentrant:  # it computes no gradient where a layer's input needs none
        base.enable_input_require_grads()
    return base


def unquantised(family: Family) -> list[str]:
    """Return the paths that stay in 16 bits: all but the language model's own layers."""
    heads = ("lm_head", f"{family.language_model}.lm_head")
    return [*(prefix.rstrip(".") for prefix in family.connector), family.vision_tower, *heads]


def cache_bytes(text: Any, element_size: int) -> int:
    """Return the bytes of one token's keys and values; `text` is the language model's configuration."""
    heads = text.num_attention_heads
    width = getattr(text, "head_dim", None) or text.hidden_size // heads
    groups = getattr(text, "num_key_value_heads", None) or heads
    return 2 * text.num_hidden_layers * groups * width * element_size


def answers_at_once(text: Any, tokens: int, element_size: int) -> int:
    """Return how many examples one batch answers: `CACHE_BYTES` of keys and values, at most 64.

    It is the same on every machine: the size of a batch may change the last bits of a sum.
    """
    batch = int(CACHE_BYTES // (tokens * cache_bytes(text, element_size)))
    return max(1, min(MOST_ANSWERS, batch))
