"""Answers compared as whole texts."""

from __future__ import annotations

from collections.abc import Sequence


def plain(text: str) -> str:
    """Normalise to lower case and single blanks, without punctuation at the end."""
    return " ".join(text.lower().split()).rstrip(".,;:!? ")


def exact_match(prediction: str, references: Sequence[str]) -> float:
    """Score 1 if the prediction equals a reference after `plain`, else 0."""
    return float(plain(prediction) in {plain(reference) for reference in references})


def contains(prediction: str, references: Sequence[str]) -> float:
    """Score 1 if a reference is part of the prediction after `plain`, else 0 (OCRBench, MLLM-CL).

    It is lenient: a long answer that lists every possibility is right.
    """
    text = plain(prediction)
    return float(any(plain(reference) in text for reference in references if plain(reference)))
