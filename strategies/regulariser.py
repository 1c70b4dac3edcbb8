"""Base class of quadratic weight regularisation (EWC, MAS, TIR)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from optuna.distributions import IntDistribution

from spaces.domains import Value, knob
from strategies.outputs import Outputs
from strategies.strategy import Learner, StageContext, Strategy, Tensors

DEFAULT_STRENGTH = 1e8
"""The paper's strength (He et al. 2023), for importances that sum to 1."""


@dataclass
class Regulariser(Strategy):
    """Quadratic penalty on changes to weights: strength x sum_i I_i (theta_i - theta*_i)^2.

    theta* are the weights at the start of the stage. The importance I of each old task is estimated
    after its stage from a strided subset, and normalised to sum to 1 over all trained weights.
    Subclasses choose the estimator, and how the importances of several tasks are combined.
    """

    strength: float
    importance_examples: int = knob(
        1000,
        IntDistribution(1, 100_000),
        "examples per task that importances are estimated from",
        False,
    )
    importance_batch: int = knob(
        4, IntDistribution(1, 256), "examples per gradient of the importances, all ranks", False
    )

    @classmethod
    def example_knobs(cls) -> dict[str, Value]:
        return {"importance_batch": 12}

    def effective(self, context: StageContext) -> dict[str, Value]:
        if not context.before or not self.strength:
            return {}
        return {"strength": self.strength, **self.consolidation_knobs()}

    def consolidation_knobs(self) -> dict[str, Value]:
        return {
            "importance_examples": self.importance_examples,
            "importance_batch": self.importance_batch,
        }

    @property
    def estimator(self) -> str:
        """Name of the importance estimator in `ESTIMATORS`."""
        raise NotImplementedError

    @property
    def kept_name(self) -> str:
        return self.estimator

    def prepare(self, start: Tensors, kept: Sequence[Tensors], context: StageContext) -> None:
        self.anchor = start
        self.importance = self.combined_importance(kept, context) if self.strength and kept else {}

    def combined_importance(self, kept: Sequence[Tensors], context: StageContext) -> Tensors:
        """Return the importance of each weight from its importance to each old task."""
        raise NotImplementedError

    def has_penalty(self) -> bool:
        return bool(self.importance)

    def penalty_gradient(self, weights: Tensors) -> Tensors:
        """Return the penalty's gradient, 2 x strength x I x (theta - theta*)."""
        return {
            name: 2 * self.strength * importance * (weights[name] - self.anchor[name])
            for name, importance in self.importance.items()
        }

    def consolidate(self, learner: Learner, task: str, size: int) -> Tensors:
        stride = max(1, -(-size // self.importance_examples))
        picks = [(task, row) for row in range(0, size, stride)]
        importance: Tensors = {}
        function, measure = ESTIMATORS[self.estimator]
        for gradients in learner.gradients(picks, self.importance_batch, function):
            for name, gradient in gradients.items():
                importance[name] = importance.get(name, torch.zeros(())) + measure(gradient)
        return normalised(importance)


def squared_logits(outputs: Outputs) -> torch.Tensor:
    """Return the summed squared length of the logits at the answers' tokens (Aljundi et al. 2018, §4.1)."""
    return outputs.logits.square().sum(-1)[outputs.within].sum()


ESTIMATORS: dict[
    str,
    tuple[Callable[[Outputs], torch.Tensor], Callable[[torch.Tensor], torch.Tensor]],
] = {
    "ewc": (Outputs.nll, torch.square),
    "mas": (squared_logits, torch.abs),
}
"""Estimators by name: the function whose gradient is taken, and the measure averaged over batches."""


def normalised(importance: Tensors) -> Tensors:
    """Return the importances divided by their sum over all weights; zero if all are zero."""
    total = sum(float(value.sum(dtype=torch.float64)) for value in importance.values())
    return {name: value / total if total > 0 else value for name, value in importance.items()}


def decayed(kept: Sequence[Tensors], context: StageContext, decay: float) -> Tensors:
    """Return the sum of old tasks' importances, each times `decay` per stage since its own."""
    total: Tensors = {}
    for age, importance in zip(stages_since(context), kept, strict=True):
        for name, value in importance.items():
            total[name] = total.get(name, torch.zeros(())) + decay**age * value
    return total


def stages_since(context: StageContext) -> Iterator[int]:
    """Yield for each old task the number of stages between its own and this one."""
    for number, group in enumerate(context.before, start=1):
        yield from [len(context.before) - number] * len(group)
