"""The panel: the orderings of every trial, and the tasks that were learned before them."""

from __future__ import annotations

from dataclasses import dataclass

from trainables.config import TrialConfig

StagePath = tuple[tuple[str, ...], ...]
"""The tasks trained at each stage so far; the empty path is the model before any stage."""

SCORING = {
    "seen": "after each stage, the tasks seen so far",
    "next": "the tasks seen so far and the next one, which forward_transfer needs",
    "all": "all tasks of the panel after each stage",
    "cheap": "the task just learned and the next one; all tasks seen at the end of an ordering",
}
"""Initial tasks are scored before the first stage and after the last one; with "all" always.

General tasks are scored before the first stage and after every one; with "cheap" as initial tasks are.
"cheap" is the schedule of He et al.'s code: 3 T - 2 scores after T stages in place of T (T + 1) / 2.
Losses of a task between its own stage and the end are not measured.
"""
AT_THE_END = "end"
"""Schedule of a confirmation: all tasks at the end of an ordering, general ones before the first stage."""
INITIAL_STATES = ("trained", "known")
"""Initial tasks are trained jointly before the first stage, or the model has learned them already."""


@dataclass(frozen=True)
class Panel:
    """The orderings that every trial is walked through, and the schedule of scoring."""

    orderings: tuple[tuple[str, ...], ...]
    scoring: str = "seen"
    split: str = "validation"
    initial: tuple[str, ...] = ()
    """Tasks learned jointly before the orderings, and never trained again."""
    initial_state: str = "trained"
    """State of the initial tasks: one of `INITIAL_STATES`."""
    general: tuple[str, ...] = ()
    """Tasks that are scored alone: never trained, replayed, consolidated or given an expert."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """All tasks of the orderings, sorted."""
        return tuple(sorted({task for ordering in self.orderings for task in ordering}))

    @property
    def learned_tasks(self) -> tuple[str, ...]:
        """The tasks of the orderings, and those learned before."""
        return (*self.tasks, *self.initial)

    @property
    def all_tasks(self) -> tuple[str, ...]:
        """All tasks that are scored: those learned, then the general ones."""
        return (*self.learned_tasks, *self.general)

    @property
    def stages(self) -> int:
        """Number of distinct stages for a strategy that takes one task after the other."""
        return len({o[:i] for o in self.orderings for i in range(1, len(o) + 1)})

    @property
    def first(self) -> tuple[str, ...]:
        """Tasks trained before any stage: the initial tasks, unless the model knows them."""
        return self.initial if self.initial_state == "trained" else ()

    def paths(self, config: TrialConfig) -> list[StagePath]:
        """Return the distinct stages of a configuration, as paths from the start, parents first."""
        paths: dict[StagePath, None] = {}
        for ordering in self.orderings:
            curriculum = config.strategy.curriculum(ordering)
            for stage in range(1, len(curriculum) + 1):
                paths[curriculum[:stage]] = None
        return list(paths)

    def scored_tasks(self, config: TrialConfig, path: StagePath) -> list[str]:
        """Return the tasks scored after `path`."""
        ends = any(path == config.strategy.curriculum(o) for o in self.orderings)
        if self.scoring == AT_THE_END and not ends:
            return [] if path else list(self.general)
        if not path or self.scoring == "all":
            return list(self.all_tasks)
        longer = [p for p in self.paths(config) if len(p) > len(path) and p[: len(path)] == path]
        # An ordering may end where another goes on.
        whole = ends or self.scoring != "cheap"
        tasks = [task for group in (path if whole else path[-1:]) for task in group]
        if self.scoring in ("next", "cheap"):
            tasks += [t for p in longer for t in p[len(path)]]
        tasks += self.initial if ends else ()
        # The last ones: their divergence is computed with other weights than the stage's.
        tasks += self.general if whole else ()
        return list(dict.fromkeys(tasks))
