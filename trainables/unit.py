"""A unit of a confirmation: one ordering at one seed, neither of which another unit uses."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainables.panel import Panel
from trainables.stage_job import Fingerprints


@dataclass(frozen=True)
class Unit:
    """An ordering and a seed; finalists are compared in pairs on the same unit."""

    ordering: tuple[str, ...]
    seed: int

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Unit:
        """Make the unit that `to_dict` wrote."""
        return cls(tuple(values["ordering"]), int(values["seed"]))

    def to_dict(self) -> dict[str, Any]:
        """Return the unit as plain JSON."""
        return {"ordering": list(self.ordering), "seed": self.seed}

    def panel(self, panel: Panel, split: str) -> Panel:
        """Return a search's panel with the unit's ordering alone, scored on `split`."""
        return dataclasses.replace(panel, orderings=(self.ordering,), split=split)

    def fingerprints(self, fingerprints: Fingerprints) -> Fingerprints:
        """Return a search's fingerprints at the unit's seed."""
        return dataclasses.replace(fingerprints, seed=self.seed)
