"""Processor of a model folder, in stock transformers."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoProcessor
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING
from transformers.utils import logging as transformers_logging
from transformers.utils.import_utils import is_torchvision_available

if "TRANSFORMERS_VERBOSITY" not in os.environ:
    # Processors that fall back to Pillow warn once for each of some fifty classes.
    transformers_logging.set_verbosity_error()

VIDEOS = "video_processor"


def load_processor(folder: Path) -> Any:
    """Load the processor in `folder`.

    Some families' processors have a part for videos, which needs torchvision. Where that is not
    installed, the part is omitted: no videos are used here.
    """
    kind: Any = PROCESSOR_MAPPING.get(type(AutoConfig.from_pretrained(folder)), None)
    if is_torchvision_available() or kind is None or not needs_torchvision(kind):
        return AutoProcessor.from_pretrained(folder)
    return images_only(kind).from_pretrained(folder)


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
