"""Seals: digests by which a record shows that nobody changed it since it was written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from spaces.errors import DamagedError

SEAL = "seal"
"""Field of a sealed record that holds the digest of all its other fields."""


def seal_of(values: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the canonical JSON of all fields but the seal itself."""
    rest = {name: value for name, value in values.items() if name != SEAL}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def sealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values with their seal."""
    return {**values, SEAL: seal_of(values)}


def check_seal(values: Mapping[str, Any], source: str, remedy: str) -> None:
    """Raise `DamagedError` unless the values carry the seal that they were written with."""
    try:
        whole = values.get(SEAL) == seal_of(values)
    except (TypeError, ValueError, RecursionError):  # values that no JSON has
        whole = False
    if not whole:
        raise DamagedError(
            f"{source} was changed since it was written: its {SEAL} does not fit; {remedy}"
        )
