"""Fingerprints of the code that trains a search's trials, and of the code that proposes and stops them."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable
from pathlib import Path

from spaces.references import REFERENCES
from trainables.store.digest import digest
from trainables.store.stage_keys import strategy_code

SEARCH_CODE = (
    *("tuning/searcher.py", "tuning/define_by_run.py", "tuning/stage_scheduler.py"),
    *("tuning/stopping.py", "tuning/rung_score.py"),
    "plan/space.py",
)
"""Files below `search/` that decide about proposals and stops."""


def trial_code(strategies: Iterable[str]) -> dict[str, str]:
    """Return a fingerprint of the training code of each strategy, the references included."""
    return {name: strategy_code(name) for name in (*REFERENCES, *strategies)}


def search_code() -> str:
    """Return a fingerprint of the code that proposes and stops trials."""
    sources = [(Path(__file__).parents[1] / name).read_text() for name in SEARCH_CODE]
    return digest(importlib.metadata.version("optuna"), *sources)
