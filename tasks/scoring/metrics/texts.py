"""Answers compared as whole texts."""

from __future__ import annotations

from collections.abc import Sequence


def plain(text: str) -> str:
    """Lower case, single blanks, no punctuation at the end."""
    return " ".join(text.lower().split()).rstrip(".,;:!? ")


def exact_match(prediction: str, references: Sequence[str]) -> float:
    """1 if the prediction equals a reference after `plain`, else 0."""
    return float(plain(prediction) in {plain(reference) for reference in references})


def contains(prediction: str, references: Sequence[str]) -> float:
    """1 if a reference is part of the prediction after `plain`, else 0 (OCRBench, MLLM-CL).

    Forgiving: a long answer that names every possibility is right.
    """
    said = plain(prediction)
    return float(any(plain(reference) in said for reference in references if plain(reference)))
