"""Base class of quadratic weight regularisation (EWC, MAS, TIR)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

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
    after its stage from a strided subset, and normalised to sum to 1 over all trained weights. It is
    estimated without dropout, from the gradient of each example's loss per answer token. Where a matrix B
    of LoRA is still zero, as for initial tasks that the model knows, only B has an importance, and A none.
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
        1,
        IntDistribution(1, 256),
        "examples per gradient of the importances; 1 as the papers define them, more is a faster "
        "approximation by batch means",
        False,
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
        # The estimator's, not the strategy's: EWC and TIR share the importances of a stage.
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
        """Return the task's importances: EWC's Fisher diagonal or MAS's sensitivity.

        They are estimated from every `stride`-th example, and sum to 1.
        """
        stride = max(1, -(-size // self.importance_examples))
        picks = [(task, row) for row in range(0, size, stride)]
        importance: Tensors = {}
        estimator = ESTIMATORS[self.estimator]
        for gradients in learner.gradients(picks, self.importance_batch, estimator.function):
            for name, gradient in gradients.items():
                measured = estimator.measure(gradient)
                importance[name] = importance.get(name, torch.zeros(())) + measured
        return normalised(importance)


def squared_logits(outputs: Outputs) -> torch.Tensor:
    """Return the summed squared length of the logits at the answers' tokens (Aljundi et al. 2018, §4.1)."""
    return outputs.logits.square().sum(-1)[outputs.within].sum()


class Estimator(NamedTuple):
    """The two functions that estimate importances.

    They are summed over batches; `consolidate` divides by their total, so no mean is needed.
    """

    function: Callable[[Outputs], torch.Tensor]
    """Function whose gradient each batch gives, per answer token."""
    measure: Callable[[torch.Tensor], torch.Tensor]
    """Measure of a batch's gradient, summed over batches."""


ESTIMATORS = {
    "ewc": Estimator(Outputs.nll, torch.square),
    "mas": Estimator(squared_logits, torch.abs),
}
"""Estimators of importances, by name."""


def normalised(importance: Tensors) -> Tensors:
    """Return the importances divided by their sum over all weights; zero if all are zero."""
    total = sum(float(value.sum(dtype=torch.float64)) for value in importance.values())
    return {name: value / total if total > 0 else value for name, value in importance.items()}


def decayed(kept: Sequence[Tensors], context: StageContext, decay: float) -> Tensors:
    """Return the sum of old tasks' importances, each times `decay` per stage in between."""
    total: Tensors = {}
    for age, importance in zip(stages_since(context), kept, strict=True):
        for name, value in importance.items():
            total[name] = total.get(name, torch.zeros(())) + decay**age * value
    return total


def stages_since(context: StageContext) -> Iterator[int]:
    """Yield for each old task the number of stages since its own: 0 for the stage just before."""
    for number, group in enumerate(context.before, start=1):
        yield from [len(context.before) - number] * len(group)
