"""The LMM families that are known: where vision tower, connector and language model sit in each.

A new family is one declaration here; the classes themselves are those of stock transformers.
"""

from __future__ import annotations

from dataclasses import dataclass

from spaces.errors import InputError


@dataclass(frozen=True)
class Family:
    """Names of modules and parameters inside a stock transformers class."""

    name: str
    model_type: str
    connector: tuple[str, ...]
    """Prefixes of the parameters that join the vision tower and the language model."""
    language_model: str
    """Path of the module that LoRA is put on."""
    vision_tower: str
    """Path of the module that sees the image; what comes out of it is what the connector reads."""
    vision_layer: str | None = None
    """The setting that names the layers of the tower that are read; None if it is the last one."""
    text_alone: bool = True
    """Whether the stock class answers a prompt without an image."""


FAMILIES: tuple[Family, ...] = (
    Family(
        name="LLaVA",
        model_type="llava",
        connector=("model.multi_modal_projector.",),
        language_model="model.language_model",
        vision_tower="model.vision_tower",
        vision_layer="vision_feature_layer",
    ),
    Family(
        name="InstructBLIP",
        model_type="instructblip",
        connector=("query_tokens", "qformer.", "language_projection."),
        language_model="language_model",
        vision_tower="vision_model",
        text_alone=False,
    ),
)


def family_of(model_type: str) -> Family:
    """The family whose `config.json` says `model_type`; raises `InputError` for any other."""
    for family in FAMILIES:
        if family.model_type == model_type:
            return family
    known = ", ".join(f.model_type for f in FAMILIES)
    raise InputError(
        f'the model must be of a known family ({known}), got model_type "{model_type}"; '
        "declare it in models/family.py"
    )
