"""A search as it is asked for: everything that a user may say of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from search.plan.objectives import Objective, parse_objectives

STOPPING = {
    "asha": "successive halving: the best part of those at a rung goes on, rungs are stages",
    "median": "below the median of the others at the same stage, a trial ends",
    "racing": "after each ordering but the first, a trial that is surely behind the leader ends",
    "none": "every trial walks the whole panel",
}

FEATURE_CACHES = {
    "auto": "on disk if it is more than a worker keeps in memory",
    "disk": "in memory-mapped files, made once before the lanes start, for all workers and searches",
    "memory": "in each worker's memory, as far as it goes: each looks for itself",
}


@dataclass(frozen=True)
class SearchPlan:
    """Space, benchmark, panel, model, budget and objectives of one search."""

    plan: str
    benchmark: str = "mini"
    model: str = "llava-aligned"
    """An embedded model or a folder; empty = the user's to name."""
    data: str = ""
    """The folder of a preset's data; empty = what CITUNE_DATA names."""
    tasks: tuple[str, ...] = ()
    """The tasks learned; empty = the benchmark's own order."""
    orderings: str = "given"
    """The panel, as `tasks.parse_orderings` reads it."""
    initial: str = "trained"
    """The benchmark's initial tasks: "trained" jointly before the first stage, "known" to the model, which
    has learned them already, or "none" to leave them out."""
    strategies: tuple[str, ...] = ("replay", "ewc")
    samples: int = 12
    """Configurations proposed by the search, beside the reference trials."""
    balanced: bool = False
    """Whether every strategy gets the same number of samples, rather than the promising ones more."""
    objectives: tuple[str, ...] = ("final_average", "forgetting")
    """Metrics, each with `:max` or `:min` where that is not known; the first one chooses the best."""
    scoring: str = "seen"
    training: Mapping[str, Any] = field(default_factory=dict)
    adapter: Mapping[str, Any] = field(default_factory=dict)
    text_encoder: str = ""
    """The folder of a sentence encoder for the similarity of tasks; empty = the language model's own
    token embeddings."""
    space: Mapping[str, Any] = field(default_factory=dict)
    """Domains by knob: `replay.ratio`, `adapter.rank`; a shared knob is searched if it is here."""
    stopping: str = "asha"
    """How weak trials die early, by `STOPPING`."""
    halving: int = 2
    """Reduction factor of "asha"; 0 = none is stopped."""
    concurrent: int | None = None
    """Trials at once; None = as many lanes as there are devices."""
    workers_per_trial: int = 1
    gpus_per_worker: float | None = None
    """Share of a GPU; None = lanes of one worker share a GPU as far as its memory goes."""
    seed: int = 0
    time_budget: float | None = None
    """Seconds; None = until the samples are done."""
    features: str = "auto"
    """Where what the frozen vision tower sees of each image is kept, by `FEATURE_CACHES`."""
    store_limit: float | None = None
    """GB of stages kept in the storage; None = all of them."""

    def directions(self) -> list[Objective]:
        """The objectives as (metric, "max" or "min")."""
        return parse_objectives(self.objectives)
