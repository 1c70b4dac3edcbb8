"""Parts of an LMM that can be trained, by their names in `Adapter.parts`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import torch
from peft import LoraConfig

from models.family import Family
from spaces.adapter import Adapter

QUERIES_VALUES = ("q_proj", "v_proj", "query", "value", "qkv")
ATTENTION = (*QUERIES_VALUES, "k_proj", "o_proj", "out_proj", "key", "dense", "proj", "projection")
TARGETS = {"qv": QUERIES_VALUES, "attention": ATTENTION}
"""Names of attention layers in stock transformers; a model has some of them."""
HEADS = ("lm_head", "head")
"""Layers without LoRA: the language model's head, and a tower's own pooling, which nothing reads."""


def trained_prefixes(family: Family, adapter: Adapter) -> tuple[str, ...]:
    """Return the prefixes of the base's own parameters that are trained."""
    prefixes = {
        "connector": family.connector,
        "qformer": family.qformer,
        "projection": family.projection,
        "lm": (f"{family.language_model}.", "lm_head."),  # the head is in or beside it
    }
    return tuple(p for part, of_part in prefixes.items() if adapter.trains(part) for p in of_part)


def lora_config(base: Any, family: Family, adapter: Adapter) -> LoraConfig:
    """Return LoRA on the linear layers that `adapter` names, in language model, vision tower or both."""
    places = {"lm_lora": family.language_model, "vision_lora": family.tower_layers}
    patterns = [
        rf"{re.escape(path)}\.(?!(.*\.)?({'|'.join(HEADS)})\.).*\.({'|'.join(sorted(layers))})"
        for part, path in places.items()
        if adapter.trains(part) and (layers := set(_layers(base, path, adapter.targets)))
    ]
    return LoraConfig(
        r=adapter.rank,
        lora_alpha=adapter.alpha_per_rank * adapter.rank,  # type: ignore[arg-type]  # any number
        lora_dropout=adapter.dropout,
        # A pattern of whole names: peft would shorten a list of them to endings. Those would also match
        # the vision tower's layers in the stock model that the adapter is loaded into.
        target_modules="|".join(patterns),
        bias="none",
    )


def _layers(base: Any, path: str, targets: str) -> Iterator[str]:
    """Yield the last names of the linear layers under `path`."""
    for name, module in base.named_modules():
        inside, last = name.removeprefix(path + "."), name.rpartition(".")[2]
        if not isinstance(module, torch.nn.Linear) or inside == name:
            continue
        if not set(inside.split(".")) & set(HEADS) and last in TARGETS.get(targets, (last,)):
            yield last
