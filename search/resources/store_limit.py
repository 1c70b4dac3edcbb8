"""Keeping the stage store within a limit: by hand, and while a search runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ray import tune

from search.plan.checks import STAGES, check_store_limit
from spaces.errors import InputError
from trainables.store.eviction import Eviction, evict_unneeded, stored
from trainables.store.stage_store import StageStore

GB = 1e9
PAUSE_SECONDS = 10.0
"""Between two looks at the size of the store; ten times that where nothing could be removed."""


def clean_storage(storage: Path, limit: float | None, dry: bool) -> str:
    """Sweep the stages of a storage once; `limit` in GB. Returns what to tell the user."""
    store = StageStore(storage / STAGES)
    if not store.root.is_dir():
        raise InputError(
            f'a storage holds the folder "{STAGES}" beside its searches, and "{storage}" does not; '
            "give the one that --storage named"
        )
    check_store_limit(limit)
    return describe_sweep(
        evict_unneeded(store, storage, None if limit is None else limit * GB, dry), dry
    )


def describe_sweep(swept: Eviction, dry: bool = False) -> str:
    """A sweep in a line."""
    would = "would be " if dry else ""
    parts = [
        f"{swept.removed / GB:.3f} GB that no search needs {would}removed",
        f"{swept.evicted / GB:.3f} GB of weights that can be trained again {would}removed",
        f"{swept.left / GB:.3f} GB left",
    ]
    if swept.pinned:
        parts.append(f"of which running trials need {swept.pinned / GB:.3f} GB")
    return ", ".join(parts)


class StoreLimit(tune.Callback):
    """Sweeps the store whenever it has grown beyond `limit` GB."""

    def __init__(self, storage: Path, limit: float) -> None:
        self.storage, self.limit = storage, limit
        self._next = 0.0
        self._warned = False

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + PAUSE_SECONDS
        try:
            self._sweep()
        except OSError as error:  # one that is raised here would end the search
            self._next = time.monotonic() + 10 * PAUSE_SECONDS
            print(f"note: the store could not be swept ({error}); the search goes on", flush=True)

    def _sweep(self) -> None:
        store = StageStore(self.storage / STAGES)
        if stored(store) <= self.limit * GB:
            return
        swept = evict_unneeded(store, self.storage, self.limit * GB)
        if not swept.removed + swept.evicted:
            self._next = time.monotonic() + 10 * PAUSE_SECONDS
        if swept.left > self.limit * GB and not self._warned:
            self._warned = True
            print(
                f"note: --store-limit {self.limit:g} cannot be kept: {describe_sweep(swept)}",
                flush=True,
            )
