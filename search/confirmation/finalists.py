"""Choice of the finalists, and the record of a confirmation: who is trained again, and on what."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from search.confirmation.scope import Scope
from search.confirmation.units import draw_units, fresh_orderings
from search.plan.preferences import Preference
from search.results.cautions import validation_sizes
from search.results.outcome import Outcome
from search.results.pareto import maximised
from spaces.errors import InputError
from spaces.files import write_atomically
from spaces.records import Record
from spaces.references import CEILING, FLOOR, REFERENCES
from trainables.config import TrialConfig
from trainables.metrics.glossary import GENERAL_KL, OF_GENERAL
from trainables.metrics.summary import summary
from trainables.panel import AT_THE_END, Panel
from trainables.unit import Unit

FOLDER = "confirmation"
"""Folder of a search's folder that holds its confirmation; `trials` in it holds the records."""
FILE = "confirmation.json"
OF_THE_END = ("final_average", "worst_ordering", *OF_GENERAL, GENERAL_KL)
"""Metrics of the scores after the last stage, and of general tasks before the first one."""
BEYOND_SEEN = ("forward_transfer", "chaudhry_forgetting")
"""Metrics that need scores of tasks before their own stage: only these pay for such scores."""


class Finalist(BaseModel):
    """A configuration that is trained again."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    """Name of its trial in the search; of a reference run, its strategy."""
    strategy: str
    config: dict[str, dict[str, Any]]
    """`TrialConfig.to_dict()`."""
    tuned: bool = False
    """True for the best of several runs of a reference, over the shared knobs that were searched."""

    @property
    def may_win(self) -> bool:
        """False for joint tuning, which no stream of tasks allows."""
        return self.strategy != CEILING

    @property
    def is_plain(self) -> bool:
        """True for sequential tuning that does nothing against forgetting, tuned or not."""
        return self.strategy == FLOOR

    @property
    def is_tuned(self) -> bool:
        """True for a trial of a search, and for the best of several runs of a reference."""
        return self.tuned or self.name != self.strategy


class ConfirmationRecord(Record):
    """Content of `confirmation.json`: fixed before the first unit is trained."""

    TITLE: ClassVar[str] = "plan of a confirmation"
    SCHEMA: ClassVar[int] = 1
    SEALED: ClassVar[bool] = True
    REMEDY: ClassVar[str] = "delete the folder of the confirmation, and confirm again"

    finalists: tuple[Finalist, ...]
    units: tuple[dict[str, Any], ...]
    """`Unit.to_dict()` of each unit, in the order in which they are trained."""
    fresh_orderings: int | None = None
    """Units whose ordering no other unit and no trial of the search has; None = all."""
    held_out_tasks: tuple[str, ...] = ()
    """Tasks of the units, if the search did not train them; empty = orderings alone are held out."""
    looks: tuple[int, ...]
    """Numbers of units after which the finalists are compared."""
    most_stages: int | None = None
    """Stages after which no further look begins; None = no limit."""
    metric: str
    """Metric of the validation split by which finalists are compared: the first objective."""
    higher_is_better: bool
    prefer: Preference = "training"
    """Cost by which one of several finalists that are not told apart is recommended."""
    examples: dict[str, int] = Field(default_factory=dict)
    """Validation examples of each task; empty where they are not known."""

    @property
    def units_were_given(self) -> bool:
        """True for a number of units that the user gave; one in proportion to the search has a limit."""
        return self.most_stages is None

    @property
    def step(self) -> float:
        """Share of a mean over tasks that one example is worth; 0 where that is not known."""
        counts = [count for count in self.examples.values() if count > 0]
        return sum(1 / count for count in counts) / len(counts) ** 2 if counts else 0.0

    def reference(self, strategy: str) -> str:
        """Return the name of the finalist that is the floor or the ceiling; the strategy's if none is.

        It is the tuned one, if a plain one is there, too.
        """
        found = [one for one in self.finalists if one.strategy == strategy]
        return max(found, key=lambda one: one.is_tuned).name if found else strategy

    def repeats(self, units: int) -> bool:
        """Return whether one of the first units has an ordering of the search or of another unit."""
        return self.fresh_orderings is not None and self.fresh_orderings < min(
            units, len(self.units)
        )

    def scored(self, panel: Panel) -> Panel:
        """Return a search's panel with the schedule of scoring that the metric needs, and no more."""
        seen = panel.scoring if self.metric in BEYOND_SEEN else "seen"
        return dataclasses.replace(panel, scoring=AT_THE_END if self.metric in OF_THE_END else seen)

    def unit(self, number: int) -> Unit:
        """Return a unit by its number, from 0."""
        return Unit.from_dict(self.units[number])

    def write(self, run: Path) -> None:
        """Write the record into the folder of a search."""
        folder = run / FOLDER
        folder.mkdir(exist_ok=True)
        write_atomically(folder / FILE, self.to_json())


def read_confirmation(run: Path) -> ConfirmationRecord | None:
    """Read the plan of a search's confirmation; None if there is none."""
    path = run / FOLDER / FILE
    try:
        return ConfirmationRecord.from_json(path.read_bytes(), str(path))
    except FileNotFoundError:
        return None


def check_units(run: Path, units: int | None) -> None:
    """Raise `InputError` if a search's confirmation was begun with more units than are asked for."""
    earlier = read_confirmation(run)
    if earlier is not None and units is not None and units < len(earlier.units):
        raise InputError(
            f'the confirmation of "{run.name}" must keep the {len(earlier.units)} units that it was begun '
            f"with, or have more, got {units}: go on without that number, or delete {run / FOLDER} to "
            "begin anew"
        )


def choose_finalists(
    outcome: Outcome, references: Mapping[str, TrialConfig], most: int
) -> list[Finalist]:
    """Return the finalists, the best ones first, and the best run of each reference.

    Finalists are the best trial of each searched strategy, then the closest followers of the leader, up to
    `most` in all. Raises `InputError` if no trial of the search can be confirmed.
    """
    rows = [row for row in outcome.strategies.values() if row["strategy"] not in REFERENCES]
    best = sorted((row["best"] for row in rows if row["best"]), key=_rank(outcome))[:most]
    if not best:
        raise InputError("there is nothing to confirm: no trial of this search has finished")
    names = [*best, *followers(outcome, best, most - len(best))]
    chosen = [
        Finalist(
            name=name,
            strategy=outcome.trials[name]["strategy"],
            config=outcome.run.trial(name).config,
        )
        for name in names
    ]
    return [*chosen, *(_reference(outcome, name, references[name]) for name in REFERENCES)]


def _reference(outcome: Outcome, strategy: str, planned: TrialConfig) -> Finalist:
    """Return the best run of a reference; the planned one if none has finished."""
    row = outcome.reference_row(strategy)
    if row is None:
        return Finalist(name=strategy, strategy=strategy, config=planned.to_dict())
    config = outcome.run.trial(row["best"]).config
    runs = sum(one["strategy"] == strategy for one in outcome.trials.values())
    return Finalist(name=row["best"], strategy=strategy, config=config, tuned=runs > 1)


def followers(outcome: Outcome, chosen: Sequence[str], count: int) -> list[str]:
    """Return the best other trials that the search itself does not tell apart from its leader.

    Those are the ones behind by less than two standard errors of a difference. The error is that of the
    residuals of trial x ordering, so it holds no noise that all orderings of a trial share.
    """
    metric, mode = outcome.objectives[0]
    sign = 1.0 if mode == "max" else -1.0
    known = {}
    for trial in outcome.run.trials:
        if trial.state == "finished" and trial.strategy not in REFERENCES:
            values = [summary(matrix).get(metric, math.nan) for matrix in trial.matrices]
            if not any(map(math.isnan, values)):
                known[trial.name] = [sign * value for value in values]
    error = _difference_error([*known.values()])
    leader = known.get(chosen[0])
    if leader is None or count < 1:
        return []
    close = [
        name
        for name, values in known.items()
        if name not in chosen and float(np.mean(leader) - np.mean(values)) < 2 * error
    ]
    return sorted(close, key=_rank(outcome))[:count]


def _difference_error(rows: Sequence[Sequence[float]]) -> float:
    """Return the standard error of the difference of two trials' means; infinite where nothing tells it."""
    cells = np.array(rows, dtype=np.float64)
    if cells.ndim != 2 or min(cells.shape) < 2:
        return math.inf
    rest = cells - cells.mean(0) - cells.mean(1, keepdims=True) + cells.mean()
    degrees = (cells.shape[0] - 1) * (cells.shape[1] - 1)
    return math.sqrt(2 * float((rest**2).sum()) / degrees / cells.shape[1])


def _rank(outcome: Outcome) -> Callable[[str], list[float]]:
    """Return the sort key of trials' names that puts the best ones first."""
    return lambda name: [-v for v in maximised(outcome.trials[name], outcome.objectives)]


def search_stages(outcome: Outcome) -> int:
    """Return the distinct stages of a search's trials, joint tuning on T tasks counted as T.

    Stages that the store had before count as well: a search that is repeated is confirmed like the first.
    """
    tasks = len(outcome.run.orderings[0])
    weights = {
        stage.key: tasks if trial.strategy == CEILING else 1
        for trial in outcome.run.trials
        for stage in trial.stages
    }
    return sum(weights.values())


def plan_confirmation(
    outcome: Outcome, finalists: list[Finalist], scope: Scope, prefer: Preference
) -> ConfirmationRecord:
    """Return the plan of a confirmation with fresh units."""
    (metric, mode), saved = outcome.objectives[0], outcome.run.plan
    drawn = draw_units(saved.confirmed_tasks, saved.used_orderings, scope.units, saved.plan.seed)
    return ConfirmationRecord(
        finalists=tuple(finalists),
        units=tuple(unit.to_dict() for unit in drawn),
        fresh_orderings=fresh_orderings(drawn, saved.used_orderings),
        held_out_tasks=saved.plan.held_out_tasks,
        looks=scope.looks,
        most_stages=scope.stages,
        metric=metric,
        higher_is_better=mode == "max",
        prefer=prefer,
        examples=validation_sizes(outcome, saved.confirmed_tasks),
    )
