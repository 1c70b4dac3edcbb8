"""Fingerprints of the code that trains a search's trials, and of the code that proposes and stops them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from spaces.references import REFERENCES
from trainables.store.code_fingerprint import ROOT, code_fingerprint
from trainables.store.stage_keys import strategy_code

DECIDING = (
    *("search.plan.space", "search.plan.reference_runs", "search.tuning.searcher"),
    *("search.tuning.stage_scheduler", "search.tuning.stopping"),
)
"""Modules that decide about proposals, reference runs and stops, together with all that they import."""
LIBRARIES = ("optuna", "ray")


def trial_code(strategies: Iterable[str]) -> dict[str, str]:
    """Return a fingerprint of the training code of each strategy, the references included."""
    return {name: strategy_code(name) for name in (*REFERENCES, *strategies)}


def search_code(root: Path = ROOT) -> str:
    """Return a fingerprint of the code below `root` that proposes and stops trials."""
    return code_fingerprint(DECIDING, LIBRARIES, root)
