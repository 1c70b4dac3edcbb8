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
"""Replacements of the similarity, to test if it matters."""


@dataclass
class TIR(Regulariser):
    """Penalise as EWC, less for weights owned by tasks similar to the new one (He et al. 2023, TIR).

    A weight's importance I_i is the largest that any old task gives it; that task, d_i, owns the weight.
    The penalty is EWC's with I_i (1 - s), s the similarity of the new task to d_i. The paper does not say
    if the next maximum is over scaled importances; here it is over unscaled ones.
    """

    name = "tir"
    needs_similarity = True
    strength: float = knob(
        DEFAULT_STRENGTH,
        FloatDistribution(1e2, 1e11, log=True),
        "weight of the penalty (lambda), for importances that sum to 1",
        off=0.0,
    )
    importances: str = knob(
        "ewc",
        CategoricalDistribution(list(ESTIMATORS)),
        "estimator of the importances: that of ewc or of mas",
    )
    signal: str = knob(
        SIGNALS[0],
        CategoricalDistribution(list(SIGNALS)),
        "modalities whose similarities are multiplied",
        False,
    )
    control: str = knob(
        "none",
        CategoricalDistribution(list(CONTROLS)),
        "replacement of the similarity as a control: a random number, or 1 - it",
        False,
    )

    @property
    def estimator(self) -> str:
        return self.importances

    def effective(self, context: StageContext) -> dict[str, Value]:
        knobs = super().effective(context)
        if not knobs:
            return {}
        signal = {"signal": self.signal} if self.control != "random" else {}
        own = {"importances": self.importances, "control": self.control}
        return knobs | own | signal

    def combined_importance(self, kept: Sequence[Tensors], context: StageContext) -> Tensors:
        importance, owner = largest_importance(kept)
        scale = torch.tensor([1 - s for s in self.similarities(context)])
        return {name: value * scale[owner[name]] for name, value in importance.items()}

    def similarities(self, context: StageContext) -> list[float]:
        """Return the similarity of the new task to each old one, or its control."""
        if self.control == "random":
            return [random_similarity(context.new[0], task) for task in context.old]
        similar = combine_signals(context.similarity, self.signal)
        return [1 - s for s in similar] if self.control == "opposite" else similar


def largest_importance(kept: Sequence[Tensors]) -> tuple[Tensors, Tensors]:
    """Return each weight's largest importance to any task, and the index of the first such task."""
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
