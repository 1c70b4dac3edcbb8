"""Marks of images in prompts: ours, and those of other frameworks that can only mean the same."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from tasks.data.rows import IMAGE
from tasks.formats.raw_example import ImageReference, RowError

_OTHER = re.compile(
    r"<image[ _-]?(?P<n>\d+)>|<\|image(?:_(?P<m>\d+))?\|>|<Image>|<IMAGE>|<ImageHere>"
    r"|<(?!image>)\s*images?\s*/?\s*>|&lt;images?&gt;|\[IMAGE\]"
    r"|(?:<\|vision_start\|>)?<\|image_pad\|>(?:<\|vision_end\|>)?|<image[_-]placeholder>"
    r"|<\|vision_start\|><image><\|vision_end\|>|<img><image></img>|<image></image>"
    r"|<start_of_image>|\[IMG\]|<IMG_CONTEXT>|<\|image_placeholder\|>"
)
_FILE = re.compile(r"<img>(?!<image>)([^<>]+)</img>")


def fill_marks(
    prompts: Sequence[str], images: tuple[ImageReference, ...]
) -> tuple[list[str], tuple[ImageReference, ...]]:
    """Return prompts with our marks in place of others', and the images.

    Other marks count where there are as many as images and none of ours. Files between `<img>` and
    `</img>`, as in Qwen-VL's data, are images.
    """
    if not any(mark in prompt for prompt in prompts for mark in "<[&"):
        return list(prompts), images
    files = tuple(name.strip() for prompt in prompts for name in _FILE.findall(prompt))
    if files and not any(IMAGE in prompt for prompt in prompts):
        if images and images != files:
            raise RowError(
                "images in the prompt differ from those beside it", ", ".join(files)[:200]
            )
        return [_FILE.sub(IMAGE, prompt) for prompt in prompts], files
    found = [mark for prompt in prompts for mark in _OTHER.finditer(prompt)]
    ours = sum(_OTHER.sub("", prompt).count(IMAGE) for prompt in prompts)
    numbers = [int(n) for mark in found if (n := mark["n"] or mark["m"])]
    if not found or ours or len(found) != len(images):
        return list(prompts), images  # what is left of them refuses the row
    if numbers and numbers != list(range(1, len(images) + 1)):
        raise RowError(
            "numbered marks of images are out of order", ", ".join(m[0] for m in found)[:200]
        )
    return [_OTHER.sub(IMAGE, prompt) for prompt in prompts], images


def check_marks(
    images: Sequence[ImageReference], prompts: Iterable[str], others: Iterable[str]
) -> None:
    """Raise `RowError` unless prompts have as many marks as images, or none, and `others` have none."""
    if any(IMAGE in other for other in others):
        raise RowError(f"{IMAGE} outside a prompt")
    marks = sum(prompt.count(IMAGE) for prompt in prompts)
    if marks not in (0, len(images)):
        raise RowError(f"number of {IMAGE} marks differs from images", f"{marks} and {len(images)}")
