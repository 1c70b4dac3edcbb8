"""Size limit of the stage store: by command, and while a search runs."""

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
"""Seconds between two checks of the store's size; ten times that if nothing could be removed."""


def clean_storage(storage: Path, limit: float | None, dry: bool) -> str:
    """Evict the stages that no search of a storage needs, and weights beyond `limit` GB; say what went."""
    store = StageStore(storage / STAGES)
    if not store.root.is_dir():
        raise InputError(
            f'a storage holds the folder "{STAGES}" beside its searches, and "{storage}" does not; '
            "give the one that --storage named"
        )
    check_store_limit(limit)
    return describe_eviction(
        evict_unneeded(store, storage, None if limit is None else limit * GB, dry), dry
    )


def describe_eviction(eviction: Eviction, dry: bool = False) -> str:
    """Describe an eviction in a line."""
    would = "would be " if dry else ""
    parts = [
        f"{eviction.removed / GB:.3f} GB that no search needs {would}removed",
        f"{eviction.evicted / GB:.3f} GB of weights that can be trained again {would}removed",
        f"{eviction.left / GB:.3f} GB left",
    ]
    if eviction.pinned:
        parts.append(f"of which running trials need {eviction.pinned / GB:.3f} GB")
    return ", ".join(parts)


class StoreLimit(tune.Callback):
    """Callback of Tune that evicts weights whenever the store exceeds `limit` GB."""

    def __init__(self, storage: Path, limit: float) -> None:
        self.storage, self.limit = storage, limit
        self._next = 0.0
        self._warned = False

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + PAUSE_SECONDS
        try:
            self._evict()
        except OSError as error:  # an error raised here would end the search
            self._next = time.monotonic() + 10 * PAUSE_SECONDS
            print(f"note: the store could not be cleaned ({error}); the search goes on", flush=True)

    def _evict(self) -> None:
        store = StageStore(self.storage / STAGES)
        if stored(store) <= self.limit * GB:
            return
        eviction = evict_unneeded(store, self.storage, self.limit * GB)
        if not eviction.removed + eviction.evicted:
            self._next = time.monotonic() + 10 * PAUSE_SECONDS
        if eviction.left > self.limit * GB and not self._warned:
            self._warned = True
            print(
                f"note: --store-limit {self.limit:g} cannot be kept: {describe_eviction(eviction)}",
                flush=True,
            )
