"""Elastic weight consolidation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from optuna.distributions import FloatDistribution, IntDistribution

from spaces.domains import Value, knob
from strategies.strategy import Learner, Strategy, Tensors


@dataclass
class EWC(Strategy):
    """Weights that mattered to earlier tasks are held near their values (Kirkpatrick et al. 2017, eq. 3).

    Penalty of stage t: strength x sum_i I_i (theta_i - theta*_i)^2. theta* are the weights at the
    start of the stage. I is the Fisher information's diagonal, estimated as the mean squared gradient
    of the loss over batches of a strided subset of the task, normalised to sum to 1 over all trained
    weights, and summed over earlier tasks with `decay` per stage (1 = the plain sum; less = online
    EWC, Schwarz et al. 2018, eq. 9).
    """

    name = "ewc"
    strength: float = knob(
        1e8, FloatDistribution(1e2, 1e11, log=True), "lambda, importances sum to 1"
    )
    decay: float = knob(1.0, FloatDistribution(0.0, 1.0), "of older tasks' importance per stage")
    fisher_examples: int = knob(1000, IntDistribution(1, 100_000), "at most, per task", False)
    fisher_batch: int = knob(
        4, IntDistribution(1, 256), "examples per squared gradient, all ranks", False
    )

    def effective(self, stage: int) -> dict[str, Value]:
        if stage == 1:
            return {}
        knobs: dict[str, Value] = {"strength": self.strength, **self.consolidation()}
        return knobs | ({"decay": self.decay} if stage > 2 else {})

    def consolidation(self) -> dict[str, Value]:
        return {"fisher_examples": self.fisher_examples, "fisher_batch": self.fisher_batch}

    def prepare(self, start: Tensors, kept: Sequence[Tensors]) -> None:
        self.anchor = start
        self.importance: Tensors = {}
        for task in kept:
            for name, value in task.items():
                older = self.importance.get(name, torch.zeros(()))
                self.importance[name] = self.decay * older + value

    def penalised(self) -> bool:
        return bool(self.importance)

    def penalty(self, weights: Tensors) -> Tensors:
        """2 x strength x I x (theta - theta*), the penalty's gradient."""
        return {
            name: 2 * self.strength * importance * (weights[name] - self.anchor[name])
            for name, importance in self.importance.items()
        }

    def consolidate(self, learner: Learner, new: Mapping[str, int]) -> Tensors:
        picks = [(task, row) for task, size in new.items() for row in range(size)]
        stride = max(1, -(-len(picks) // self.fisher_examples))
        fisher: Tensors = {}
        for gradients in learner.gradients(picks[::stride], self.fisher_batch):
            for name, gradient in gradients.items():
                fisher[name] = fisher.get(name, torch.zeros(())) + gradient.square()
        total = sum(float(value.sum(dtype=torch.float64)) for value in fisher.values())
        return {name: value / total if total > 0 else value for name, value in fisher.items()}
