"""The score matrix of one ordering, and every continual metric made of it.

T is the number of tasks; a[t][j] is the score on the j-th task of the ordering after stage t.
The row a[0] is from before any stage. Tasks learned before the ordering have columns of their own, I,
and so have the general tasks, G, which are never trained.
Formulas: `GLOSSARY`, which also says where one differs from its source's. Sources: Chaudhry et al. 2018
(`chaudhry_forgetting`, intransigence), Lopez-Paz and Ranzato 2017 (transfer), He et al. 2023
(`backward_transfer_clmm`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spaces.errors import InputError, shown, unknown
from trainables.metrics.glossary import GLOSSARY

_KEYS = {"tasks", "values", "initial", "general"}
MOST_SCORE = 1e6
"""Magnitude that no metric's score reaches."""


@dataclass(frozen=True, eq=False)
class ScoreMatrix:
    """Row t, column j: the score on the j-th task learned after stage t.

    `values`: float64 (T+1, T+I+G), read-only; row 0 is before any stage; NaN = never evaluated. Columns
    of the `initial` tasks, learned before the first stage, and of the `general` ones follow the tasks'.
    """

    tasks: tuple[str, ...]
    values: np.ndarray
    initial: tuple[str, ...] = ()
    general: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        tasks, values = tuple(self.tasks), np.array(self.values, dtype=np.float64)
        initial, general = tuple(self.initial), tuple(self.general)
        every = tasks + initial + general
        count, width = len(tasks), len(every)
        if not count or len({*every}) != width:
            raise InputError(
                f"a score matrix needs tasks that differ: got {', '.join(every) or 'none'}"
            )
        if values.shape != (count + 1, width):
            raise InputError(
                f"{count} tasks need a matrix of {count + 1} rows (row 0 is before any stage) and "
                f"{width} columns: got {' x '.join(map(str, values.shape))}"
            )
        if np.isinf(values).any():
            raise InputError("scores must be finite, or NaN where never evaluated: got an infinity")
        values.setflags(write=False)
        object.__setattr__(self, "tasks", tasks)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "initial", initial)
        object.__setattr__(self, "general", general)

    @classmethod
    def from_rows(
        cls,
        tasks: Sequence[str],
        rows: Mapping[int, Mapping[str, float]],
        initial: Sequence[str] = (),
        general: Sequence[str] = (),
    ) -> ScoreMatrix:
        """Make a matrix from {stage: {task: score}}; other cells were never evaluated."""
        count, columns = len(tasks), [*tasks, *initial, *general]
        values = np.full((count + 1, len(columns)), math.nan)
        for stage, row in rows.items():
            if not 0 <= stage <= count:
                raise InputError(f"stages of {count} tasks are 0 to {count}: got {stage}")
            for task, score in row.items():
                if task not in columns:
                    raise unknown("task", task, columns)
                values[stage, columns.index(task)] = score
        return cls(tuple(tasks), values, tuple(initial), tuple(general))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ScoreMatrix:
        """Make the matrix that `to_dict` wrote."""
        fault = "a score matrix has tasks, values (a list of rows of numbers or null), initial and general"
        if not isinstance(data, Mapping) or not {"tasks", "values"} <= {*data} <= _KEYS:
            raise InputError(f"{fault}: got {shown(data)}")
        names = [data["tasks"], data.get("initial", ()), data.get("general", ())]
        for some in names:
            if not isinstance(some, list | tuple) or not all(isinstance(n, str) for n in some):
                raise InputError(f"{fault}: got {shown(some)} as names of tasks")
        rows = data["values"]
        if not isinstance(rows, list) or not all(map(_is_row, rows)):
            raise InputError(f"{fault}: got {shown(rows)}")
        if len({len(row) for row in rows}) > 1:
            raise InputError(f"the rows of a score matrix have one length: got {shown(rows)}")
        scores = [[math.nan if score is None else float(score) for score in row] for row in rows]
        values = np.array(scores, dtype=np.float64)
        return cls(tuple(names[0]), values, tuple(names[1]), tuple(names[2]))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON: a cell never evaluated is null."""
        rows = [
            [None if math.isnan(score) else score for score in row] for row in self.values.tolist()
        ]
        further = {"initial": self.initial, "general": self.general}
        given = {key: list(names) for key, names in further.items() if names}
        return {"tasks": list(self.tasks), "values": rows} | given

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ScoreMatrix):
            return NotImplemented
        mine, theirs = ((m.tasks, m.initial, m.general) for m in (self, other))
        return mine == theirs and np.array_equal(self.values, other.values, equal_nan=True)

    def __hash__(self) -> int:
        return hash((self.tasks, self.values.tobytes()))

    @property
    def stages(self) -> int:
        """T, the number of stages of the whole ordering."""
        return len(self.tasks)

    @property
    def columns(self) -> tuple[str, ...]:
        """The tasks of all columns: those of the ordering, the initial ones, then the general ones."""
        return self.tasks + self.initial + self.general

    def row(self, stage: int) -> dict[str, float]:
        """Return the scores after `stage` by task; NaN where never evaluated."""
        return dict(zip(self.columns, self.values[stage].tolist(), strict=True))

    def after(self, stage: int) -> ScoreMatrix:
        """Return the matrix as if the ordering ended after `stage`, for an unfinished trial."""
        if not 1 <= stage <= self.stages:
            raise InputError(f"stage must be 1 to {self.stages}: got {stage}")
        kept = [*range(stage), *range(self.stages, len(self.columns))]
        values = self.values[: stage + 1][:, kept]
        return ScoreMatrix(self.tasks[:stage], values, self.initial, self.general)

    # Metrics: NaN where a score that the formula needs was never evaluated ----------------------

    def final_average(self) -> float:
        """Return mean_j a[T][j]."""
        return _mean(self._at(self.stages, j) for j in self._positions())

    def average_over_stages(self) -> float:
        """Return mean_t mean_{j<=t} a[t][j]."""
        seen = (_mean(self._at(t, j) for j in range(1, t + 1)) for t in self._positions())
        return _mean(seen)

    def average_over_columns(self) -> float:
        """Return mean_j mean_{t>=j} a[t][j]: the mean over tasks of each one's mean score since learned."""
        columns = (range(j, self.stages + 1) for j in self._positions())
        return _mean(_mean(self._at(t, stages[0]) for t in stages) for stages in columns)

    def learning_average(self) -> float:
        """Return mean_t a[t][t]."""
        return _mean(self._at(t, t) for t in self._positions())

    def forgetting(self) -> float:
        """Return mean_{j<T} (max_{j<=l<T} a[l][j] - a[T][j]), the maximum over the evaluated stages."""
        return _mean(self._best(j, j) - self._at(self.stages, j) for j in self._earlier())

    def chaudhry_forgetting(self) -> float:
        """Return mean_{j<T} (max_{1<=l<T} a[l][j] - a[T][j]), the maximum over all earlier stages.

        NaN unless all of them were scored, those before the task was learned too.
        """
        earlier = self.values[1 : self.stages]
        return _mean(
            float(earlier[:, j - 1].max()) - self._at(self.stages, j) for j in self._earlier()
        )

    def backward_transfer(self) -> float:
        """Return mean_{j<T} (a[T][j] - a[j][j])."""
        return _mean(self._at(self.stages, j) - self._at(j, j) for j in self._earlier())

    def backward_transfer_coin(self) -> float:
        """Return (1/T) sum_{j<=T} (a[T][j] - a[j][j]), as CoIN (Chen et al. 2024) divides by T."""
        return _mean(self._at(self.stages, j) - self._at(j, j) for j in self._positions())

    def backward_transfer_clmm(self) -> float:
        """Return mean_j min_t (a[T][j] - a[t][j]), over evaluated rows t, 0 and T too.

        The columns j are those of the tasks learned in the ordering or before it.
        """
        best = np.fmax.reduce(self.values)  # of each column, without the cells never evaluated
        columns = [*self._positions(), *self._initial()]
        return _mean(self._at(self.stages, j) - float(best[j - 1]) for j in columns)

    def initial_average(self) -> float:
        """Return mean_i a[T][i], i over the initial tasks."""
        return _mean(self._at(self.stages, i) for i in self._initial())

    def initial_forgetting(self) -> float:
        """Return mean_i (max_{0<=l<T} a[l][i] - a[T][i]), i over the initial tasks."""
        return _mean(self._best(0, i) - self._at(self.stages, i) for i in self._initial())

    def general_average(self) -> float:
        """Return mean_g a[T][g], g over the general tasks."""
        return _mean(self._at(self.stages, g) for g in self._general())

    def general_drift(self) -> float:
        """Return mean_g (a[0][g] - a[T][g]), g over the general tasks; below 0 where they gained."""
        return _mean(self._at(0, g) - self._at(self.stages, g) for g in self._general())

    def forward_transfer(self) -> float:
        """Return mean_{j>=2} (a[j-1][j] - a[0][j])."""
        return _mean(self._at(j, j + 1) - self._at(0, j + 1) for j in self._earlier())

    def intransigence(self, joint: Mapping[str, float]) -> float:
        """Return mean_j (J[j] - a[j][j]), J: the scores of joint tuning by task."""
        return _mean(joint.get(task, math.nan) - self._at(j, j) for j, task in self._numbered())

    def relative_final(self, reference: Mapping[str, float]) -> float:
        """Return mean_j a[T][j] / s[j], s: the scores of each task tuned alone (or of joint tuning).

        NaN if a reference score is 0.
        """
        return _mean(
            self._at(self.stages, j) / (reference.get(task) or math.nan)
            for j, task in self._numbered()
        )

    def _positions(self) -> range:
        return range(1, self.stages + 1)

    def _numbered(self) -> Iterable[tuple[int, str]]:
        return enumerate(self.tasks, start=1)

    def _earlier(self) -> range:
        """Return the positions of all tasks but the last one learned."""
        return range(1, self.stages)

    def _initial(self) -> range:
        """Return the positions of the initial tasks' columns."""
        return range(self.stages + 1, self.stages + len(self.initial) + 1)

    def _general(self) -> range:
        """Return the positions of the general tasks' columns."""
        return range(self.stages + len(self.initial) + 1, len(self.columns) + 1)

    def _at(self, stage: int, position: int) -> float:
        """Return a[stage][position]."""
        return float(self.values[stage, position - 1])

    def _best(self, first: int, position: int) -> float:
        """Return the best score of a task from the stage `first` to the last but one.

        The stage `first` must have been scored; later ones count if they were. So the metric exists for a
        task that is scored only when it was learned and at the end.
        """
        scores = self.values[first : self.stages, position - 1]
        return math.nan if math.isnan(scores[0]) else float(np.nanmax(scores))


def _mean(scores: Iterable[float]) -> float:
    scores = list(scores)
    return math.fsum(scores) / len(scores) if scores else math.nan


CONTINUAL_METRICS: dict[str, Any] = {
    name: getattr(ScoreMatrix, name) for name in GLOSSARY if hasattr(ScoreMatrix, name)
}


def _is_row(row: object) -> bool:
    """Return whether a parsed row holds scores: numbers, or null where never evaluated."""
    return isinstance(row, list) and all(
        score is None
        or (
            isinstance(score, int | float)
            and not isinstance(score, bool)
            and abs(score) < MOST_SCORE
        )
        for score in row
    )
