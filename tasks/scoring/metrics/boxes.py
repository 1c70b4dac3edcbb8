"""Grounding: the box around what is asked for, "[x1, y1, x2, y2]"."""

from __future__ import annotations

import re
from collections.abc import Sequence

Box = tuple[float, float, float, float]
ENOUGH = 0.5

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_BOX = re.compile(r"\s*,?\s*".join([rf"[\[(<{{]?\s*({_NUMBER})\s*[\])>}}]?"] * 4))
STRICT = re.compile(rf"\s*\[\s*{_NUMBER}(?:\s*,\s*{_NUMBER}){{3}}\s*\]\.?\s*")
"""Pattern of a box with nothing around it."""


def grounding_accuracy(prediction: str, references: Sequence[str]) -> float:
    """Score 1 if the box overlaps a reference box by half of their union or more (Acc@0.5), else 0.

    Corners are left, top, right, bottom, in the reference's own units (shares of the image in CoIN). A
    text without a box scores 0, and so does a box whose corners are the wrong way round. CoIN's own
    script asks for more than half; half is enough on the RefCOCO sets.
    """
    predicted = box(prediction)
    if predicted is None:
        return 0.0
    others = (match for reference in references if (match := box(reference)))
    return float(any(overlap(predicted, other) >= ENOUGH for other in others))


def box(text: str) -> Box | None:
    """Return the first four numbers in a row of a text, whatever their brackets; None without them."""
    match = _BOX.search(text)
    if match is None:
        return None
    left, top, right, bottom = map(float, match.groups())
    return (left, top, right, bottom) if left < right and top < bottom else None


def overlap(one: Box, other: Box) -> float:
    """Return the intersection over union of two boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0.0) * max(height, 0.0)
    return shared / (_area(one) + _area(other) - shared)


def _area(one: Box) -> float:
    return (one[2] - one[0]) * (one[3] - one[1])


def box_plain(text: str) -> str:
    """Return the box as text; empty if there is none."""
    return str(box(text) or "")
