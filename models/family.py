"""LMM families: the places of vision tower, connector and language model in each.

A new family is one declaration here; the classes themselves are those of stock transformers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from spaces.adapter import Adapter
from spaces.errors import InputError


@dataclass(frozen=True)
class Family:
    """Names of modules and parameters inside a stock transformers class."""

    name: str
    model_type: str
    projection: tuple[str, ...]
    """Prefixes of the parameters that map image features to the language model's width."""
    language_model: str
    """Path of the language model."""
    vision_tower: str
    """Path of the module that encodes the image; the connector reads its output."""
    qformer: tuple[str, ...] = ()
    """Prefixes of the parameters of a Q-Former and its queries, which read the tower's output."""
    vision_layer: str | None = None
    """Setting that names the layers of the tower that are read; None if it is the last one."""
    vision_blocks: str | None = None
    """Path of the tower's list of blocks, if its module holds the connector too. The frozen part ends
    with the blocks, not with the module."""
    deepstack: str | None = None
    """Vision setting that names further blocks of such a tower that a connector reads."""
    nested_tiles: bool = False
    """True if pixels come as (examples, images, ...) rather than as a list of images."""
    answer_token_type: int = 0
    """Value of an answer's `token_type_ids`; PaliGemma attends to 0 in both directions."""
    text_alone: bool = True
    """True if the stock class answers a prompt without an image."""
    several_images: bool = True
    """True if a prompt may show more than one image."""
    templated: bool = True
    """True if its models are asked in a chat template by nature, never in plain text."""

    @property
    def connector(self) -> tuple[str, ...]:
        """Prefixes of all parameters that join the vision tower and the language model."""
        return (*self.qformer, *self.projection)

    @property
    def tower_layers(self) -> str:
        """Path of the tower's own layers."""
        return self.vision_blocks or self.vision_tower

    def layers_read(self, config: Any) -> list[int] | None:
        """Return which of the tower's `hidden_states` the connector reads; None: its output."""
        value = getattr(config, self.vision_layer) if self.vision_layer else None
        if value is None or (self.model_type == "internvl" and value == -1):
            return None  # InternVL reads the output, which is normed; the last layer is not
        return [value] if isinstance(value, int) else list(value)


def _llava(name: str, model_type: str, newline: bool = False, **more: Any) -> Family:
    """Declare a family after LLaVA: tower, projector and language model side by side.

    `newline`: the vector that ends a row of tiles is learned, too.
    """
    return Family(
        name=name,
        model_type=model_type,
        projection=("model.multi_modal_projector.", *(["model.image_newline"] * newline)),
        language_model="model.language_model",
        vision_tower="model.vision_tower",
        **more,
    )


def _blip(name: str, model_type: str) -> Family:
    """Declare a family with a Q-Former; each prompt shows one image."""
    return Family(
        name=name,
        model_type=model_type,
        qformer=("query_tokens", "qformer."),
        projection=("language_projection.",),
        language_model="language_model",
        vision_tower="vision_model",
        text_alone=False,
        several_images=False,
        templated=False,
    )


def _qwen(name: str, model_type: str, **more: Any) -> Family:
    """Declare a family whose tower holds its connector, the mergers of patches."""
    return Family(
        name=name,
        model_type=model_type,
        projection=("model.visual.merger.", "model.visual.deepstack_merger_list."),
        language_model="model.language_model",
        vision_tower="model.visual",
        vision_blocks="model.visual.blocks",
        **more,
    )


def _idefics(name: str, model_type: str) -> Family:
    return Family(
        name=name,
        model_type=model_type,
        projection=("model.connector.",),
        language_model="model.text_model",
        vision_tower="model.vision_model",
        nested_tiles=True,
    )


LAYER = "vision_feature_layer"
FAMILIES: tuple[Family, ...] = (
    _llava("LLaVA", "llava", vision_layer=LAYER),
    _llava("LLaVA-NeXT", "llava_next", newline=True, vision_layer=LAYER),
    _llava("LLaVA-OneVision", "llava_onevision", newline=True, vision_layer=LAYER),
    _llava("InternVL", "internvl", vision_layer=LAYER),
    _llava("PaliGemma", "paligemma", answer_token_type=1, text_alone=False, templated=False),
    _blip("BLIP-2", "blip-2"),
    _blip("InstructBLIP", "instructblip"),
    _qwen("Qwen2.5-VL", "qwen2_5_vl"),
    _qwen("Qwen3-VL", "qwen3_vl", deepstack="deepstack_visual_indexes"),
    _idefics("Idefics3", "idefics3"),
    _idefics("SmolVLM", "smolvlm"),
)


def family_of(model_type: str) -> Family:
    """Return the family of a `model_type` in config.json; raise `InputError` for any other."""
    for family in FAMILIES:
        if family.model_type == model_type:
            return family
    raise InputError(
        f'the model must be of a known family ({_types(FAMILIES)}), got model_type "{model_type}"; '
        "declare it in models/family.py"
    )


def _types(families: Iterable[Family]) -> str:
    return ", ".join(family.model_type for family in families)


def check_parts(family: Family, adapter: Adapter) -> None:
    """Raise `InputError` for a part that the family does not have."""
    if adapter.trains("qformer") and not family.qformer:
        raise InputError(
            f"adapter.parts: only families with a Q-Former (BLIP-2, InstructBLIP) can train it, and "
            f'{family.name} has none; got "{adapter.parts}", connector would do'
        )
