"""Task-similarity-informed regularisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from optuna.distributions import CategoricalDistribution, FloatDistribution

from spaces.domains import Value, knob
from strategies.regulariser import DEFAULT_STRENGTH, ESTIMATORS, Regulariser
from strategies.similarity import SIGNALS, combine_signals, random_similarity
from strategies.strategy import StageContext, Tensors

CONTROLS = ("none", "random", "opposite")


@dataclass
class TIR(Regulariser):
    """What mattered to tasks is held the less, the more they are like the new one (He et al. 2023, TIR).

    Each weight's importance I_i is the largest that any old task gives it, and belongs to that task,
    d_i. The penalty is EWC's with I_i (1 - s), s the similarity of the new task to d_i. Whether the
    scaled importance is kept for the next maximum is not published; here the unscaled one is.
    """

    name = "tir"
    needs_similarity = True
    strength: float = knob(
        DEFAULT_STRENGTH,
        FloatDistribution(1e2, 1e11, log=True),
        "lambda, importances sum to 1",
        off=0.0,
    )
    importances: str = knob("ewc", CategoricalDistribution(list(ESTIMATORS)), "estimated as there")
    signal: str = knob(
        SIGNALS[0], CategoricalDistribution(list(SIGNALS)), "the similarities multiplied", False
    )
    control: str = knob(
        "none",
        CategoricalDistribution(list(CONTROLS)),
        "in place of the similarity, to tell whether it matters: a random number, or 1 - it",
        False,
    )

    @property
    def estimator(self) -> str:
        return self.importances

    def effective(self, context: StageContext) -> dict[str, Value]:
        found = super().effective(context)
        if not found:
            return {}
        signal = {"signal": self.signal} if self.control != "random" else {}
        own = {"importances": self.importances, "control": self.control}
        return found | own | signal

    def combined_importance(self, kept: Sequence[Tensors], context: StageContext) -> Tensors:
        importance, owner = largest_importance(kept)
        free = torch.tensor([1 - s for s in self.similarities(context)])
        return {name: value * free[owner[name]] for name, value in importance.items()}

    def similarities(self, context: StageContext) -> list[float]:
        """Of the new task to each old one, as the knobs want it."""
        if self.control == "random":
            return [random_similarity(context.new[0], task) for task in context.old]
        found = combine_signals(context.similarity, self.signal)
        return [1 - s for s in found] if self.control == "opposite" else found


def largest_importance(kept: Sequence[Tensors]) -> tuple[Tensors, Tensors]:
    """Of each weight: the largest importance that a task gives it, and the index of the first such task."""
    importance: Tensors = {}
    owner: Tensors = {}
    for number, task in enumerate(kept):
        for name, value in task.items():
            if name not in importance:
                importance[name], owner[name] = (
                    value,
                    torch.full(value.shape, number, dtype=torch.int32),
                )
                continue
            larger = value > importance[name]
            owner[name] = torch.where(larger, number, owner[name])
            importance[name] = torch.where(larger, value, importance[name])
    return importance, owner
