"""A folder's weights, read into a stock model."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, BitsAndBytesConfig

from models.family import Family
from models.location import folder_family
from spaces.loading import Loading, check_loading

# peft's way to ask, which transformers has renamed.
warnings.filterwarnings("ignore", ".*gradient_checkpointing", FutureWarning)

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
IMAGES_PER_CALL = 8
"""Images per call of the vision tower. Sums may differ in their last bits with the size of a batch: all
calls have this one where sizes allow, so that an image's features do not depend on what it happened to be
met with."""
CACHE, MOST_ANSWERS = 2e9, 64


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
            llm_int8_skip_modules=unquantised(folder_family(folder)),
        )
    base: Any = AutoModelForImageTextToText.from_pretrained(folder, **options).eval()
    if loading.checkpointing:
        base.gradient_checkpointing_enable({"use_reentrant": loading.reentrant})
    if loading.reentrant:  # it sees no gradient to compute where a layer's input needs none
        base.enable_input_require_grads()
    return base


def unquantised(family: Family) -> list[str]:
    """Paths of what stays in 16 bits: all but the language model's own layers."""
    heads = ("lm_head", f"{family.language_model}.lm_head")
    return [*(prefix.rstrip(".") for prefix in family.connector), family.vision_tower, *heads]


def cache_bytes(text: Any, own: int) -> int:
    """Of the keys and values of one token."""
    heads = text.num_attention_heads
    width = getattr(text, "head_dim", None) or text.hidden_size // heads
    groups = getattr(text, "num_key_value_heads", None) or heads
    return 2 * text.num_hidden_layers * groups * width * own


def answers_at_once(text: Any, tokens: int, own: int) -> int:
    """Examples answered in one batch: as many as `CACHE` bytes of keys and values hold, at most 64.

    The same on every machine, for the size of a batch may change the last bits of a sum.
    """
    return max(1, min(MOST_ANSWERS, int(CACHE // (tokens * cache_bytes(text, own)))))
