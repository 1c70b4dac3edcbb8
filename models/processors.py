"""Processor of a model folder, in stock transformers."""

from __future__ import annotations

import inspect
import json
import os
from pathlib import Path
from typing import Any

from transformers import AutoProcessor
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING
from transformers.utils import logging as transformers_logging
from transformers.utils.import_utils import is_torchvision_available

from models.folder.chat_template import chat_template
from models.folder.tokenizer import free_of_limits, prepare_tokenizer
from models.folder.weights import read_config
from models.location import folder_family
from spaces.errors import InputError, first_line

if "TRANSFORMERS_VERBOSITY" not in os.environ:
    # Processors that fall back to Pillow warn once for each of some fifty classes.
    transformers_logging.set_verbosity_error()

VIDEOS = "video_processor"


def load_processor(folder: Path) -> Any:
    """Load the processor in `folder`, with the chat template that the model is asked in.

    Some families' processors have a part for videos, which needs torchvision. Where that is not
    installed, the part is omitted: no videos are used here. Raises `InputError` if it cannot be used.
    """
    family, config = folder_family(folder), read_config(folder)
    try:
        processor = _loaded(folder, config)
    except Exception as error:  # transformers names the file that is missing or unreadable
        raise InputError(
            f'the processor in "{folder}" must load, and does not: {_told(error)}; copy '
            "processor_config.json or preprocessor_config.json and the tokenizer's files from the original"
        ) from error
    if not hasattr(processor, "tokenizer") or not hasattr(processor, "image_processor"):
        raise InputError(
            f'the processor in "{folder}" must be one for images and texts, and is a '
            f"{type(processor).__name__}: processor_class in processor_config.json must be "
            f"{_class_of(config)}"
        )
    _check_settings(folder, processor, config)
    prepare_tokenizer(folder, processor.tokenizer, config.get_text_config().vocab_size)
    if qformer := getattr(processor, "qformer_tokenizer", None):
        free_of_limits(folder / "qformer_tokenizer", qformer, config.qformer_config.vocab_size)
    processor.chat_template = chat_template(folder, processor, family)
    return processor


def _loaded(folder: Path, config: Any) -> Any:
    kind: Any = PROCESSOR_MAPPING.get(type(config), None)
    if is_torchvision_available() or kind is None or not needs_torchvision(kind):
        return AutoProcessor.from_pretrained(folder)
    return images_only(kind).from_pretrained(folder)


def _class_of(config: Any) -> str:
    """Return the name of the stock processor class of a configuration."""
    return str(getattr(PROCESSOR_MAPPING.get(type(config), None), "__name__", "the family's own"))


def _told(error: Exception) -> str:
    """Return an error's type and first line, without transformers' own advice about the hub."""
    line = first_line(error).partition(" If you were trying to load it from")[0]
    return f"{type(error).__name__}: {line[:300]}"


def _check_settings(folder: Path, processor: Any, config: Any) -> None:
    """Raise `InputError` if the processor lacks settings that older folders left to the model."""
    vision = config.vision_config
    known = {
        "patch_size": getattr(vision, "patch_size", None),
        "vision_feature_select_strategy": getattr(config, "vision_feature_select_strategy", None),
        "num_image_tokens": _patches_of(vision),
        "num_query_tokens": getattr(config, "num_query_tokens", None),
    }
    named = {n: v for n, v in known.items() if getattr(processor, n, v) is None and v is not None}
    if named:
        settings = json.dumps(named | {"processor_class": type(processor).__name__})
        raise InputError(
            f'the processor in "{folder}" must know {" and ".join(named)}, as older folders do not: write '
            f"processor_config.json with {settings} (these are the values of config.json), or copy the "
            "file from the newest version of the original model; the same goes for "
            "num_additional_image_tokens, which is 1 where the tower has a class token"
        )


def _patches_of(vision: Any) -> int | None:
    """Return the patches of one image, if the tower has images of one size."""
    side, patch = getattr(vision, "image_size", None), getattr(vision, "patch_size", None)
    return (side // patch) ** 2 if isinstance(side, int) and isinstance(patch, int) else None


def needs_torchvision(kind: Any) -> bool:
    """Return whether the stock processor class has a part for videos."""
    return VIDEOS in inspect.signature(kind.__init__).parameters


def images_only(kind: Any) -> Any:
    """Return the processor class without its part for videos, under the same name."""

    class ImagesOnly(kind):
        @classmethod
        def get_attributes(cls) -> list[str]:
            return [name for name in kind.get_attributes() if name != VIDEOS]

        @classmethod
        def _get_arguments_from_pretrained(cls, *args: Any, **options: Any) -> list[Any]:
            arguments = super()._get_arguments_from_pretrained(*args, **options)
            arguments.insert(kind.get_attributes().index(VIDEOS), None)
            return arguments

    ImagesOnly.__name__ = kind.__name__
    return ImagesOnly
