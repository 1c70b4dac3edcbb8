"""A search as its user describes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from search.plan.objectives import Objective, parse_objectives

STOPPING = {
    "asha": "successive halving: the best part of the trials at a rung continues; rungs are stages",
    "median": "a trial stops if it is below the median of the others at the same stage",
    "racing": "from the third ordering to the last but one, a trial behind the leader on this panel stops",
    "none": "every trial trains the whole panel",
}

FEATURE_CACHES = {
    "auto": "on disk if the features need more than a worker caches in memory",
    "disk": "in memory-mapped files, computed once before the lanes start, for all workers and searches",
    "memory": "in each worker's memory, as far as it goes: each computes its own",
}


@dataclass(frozen=True)
class SearchPlan:
    """Space, benchmark, panel, model, budget and objectives of one search."""

    plan: str
    benchmark: str = "mini"
    model: str = "llava-aligned"
    """An embedded model or a folder; empty = the user must name one."""
    data: str = ""
    """The folder of a preset's data; empty = the one that CITUNE_DATA names."""
    tasks: tuple[str, ...] = ()
    """The tasks to learn; empty = all, in the benchmark's order."""
    held_out_tasks: tuple[str, ...] = ()
    """Tasks that are not searched on, and that alone confirm the choice; empty = orderings are held out."""
    search_stages: int | None = None
    """Stages of each ordering that are searched; None = all. The confirmation trains whole orderings."""
    orderings: str = "given"
    """The panel, as `tasks.parse_orderings` reads it."""
    initial: str = "trained"
    """The benchmark's initial tasks: "trained" jointly before the first stage, "known" (the model has
    learned them already), or "none" to leave them out."""
    general: tuple[str, ...] = ()
    """Tasks that are scored and never trained; empty = those of the benchmark, `none` leaves them out."""
    strategies: tuple[str, ...] = ("replay", "ewc")
    samples: int = 12
    """Configurations that the search proposes, beside the reference runs."""
    reference_samples: int | None = None
    """Runs of each reference if shared knobs are searched; None = a strategy's share of `samples`."""
    balanced: bool = False
    """Strategies take turns, so that each has its share; false = promising ones get more samples."""
    objectives: tuple[str, ...] = ("final_average", "forgetting")
    """Metrics, optionally with `:max` or `:min`; the first one chooses the best trial."""
    scoring: str = "seen"
    training: Mapping[str, Any] = field(default_factory=dict)
    adapter: Mapping[str, Any] = field(default_factory=dict)
    text_encoder: str = ""
    """The folder of a sentence encoder for task similarity; empty = the language model's own
    token embeddings."""
    space: Mapping[str, Any] = field(default_factory=dict)
    """Domains by knob, such as `replay.ratio`; a shared one (`adapter.rank`) is searched if it is here."""
    stopping: str = "asha"
    """Rule that stops weak trials early: one of `STOPPING`."""
    halving: int = 2
    """Reduction factor of `asha`, 2 or more; 0: no trial is stopped."""
    confirm: int | None = None
    """Finalists that are confirmed, beside the references; 0 = none, None = in proportion."""
    confirm_seeds: int | None = None
    """Units of the confirmation at most, each a fresh seed; None = in proportion."""
    prefer: str = "training"
    """Cost that chooses among finalists that are not told apart: one of `PREFERENCES`."""
    concurrent: int | None = None
    """Trials at once; None = as many as the devices allow."""
    workers_per_trial: int = 1
    gpus_per_worker: float | None = None
    """Share of a GPU; None = lanes of one worker share a GPU as far as its memory goes."""
    seed: int = 0
    time_budget: float | None = None
    """Seconds; None = until the samples are done."""
    features: str = "auto"
    """Cache of the frozen vision tower's features: one of `FEATURE_CACHES`."""
    store_limit: float | None = None
    """Size limit of the stage store in GB; None = no limit."""

    def directions(self) -> list[Objective]:
        """Return the objectives with their directions; raises `InputError` as `parse_objectives`."""
        return parse_objectives(self.objectives)
