"""Digests: the one hash of plain values, and the seeds derived from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence


def digest(*parts: object) -> str:
    """Return the SHA-256 of the parts' canonical JSON, as 40 hex digits."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def stage_seed(seed: int, tasks: Sequence[str], depth: int) -> int:
    """Return the seed of a stage's shuffling and dropout, from (plan seed, tasks, depth) alone.

    A stage's result thus depends on no trial, lane, moment or knob, and configurations are compared
    under common random numbers.
    """
    return int(digest("seed", seed, list(tasks), depth)[:12], 16)
