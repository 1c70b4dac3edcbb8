"""Relaxed accuracy: a number may be a little off."""

from __future__ import annotations

import math
from collections.abc import Sequence

TOLERANCE = 0.05


def relaxed_accuracy(prediction: str, references: Sequence[str]) -> float:
    """Score 1 within 5 % of a reference number, or for the text of another reference (ChartQA).

    As published (Methani et al. 2020; Masry et al. 2022), 12% is the number 0.12, case and blanks at the
    ends do not count, and 1,000 does not count as a number. For the reference 0, only the same text is
    right.
    """
    return float(any(_near(prediction.strip(), reference.strip()) for reference in references))


def _near(prediction: str, reference: str) -> bool:
    predicted, right = as_number(prediction), as_number(reference)
    if predicted is None or not right:
        return prediction.lower() == reference.lower()
    return abs(predicted - right) / abs(right) <= TOLERANCE


def as_number(text: str) -> float | None:
    """Parse a text as a number; return None if it is none."""
    try:
        value = float(text.rstrip("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
