"""Elastic weight consolidation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from optuna.distributions import FloatDistribution

from spaces.domains import Value, knob
from strategies.regulariser import DEFAULT_STRENGTH, Regulariser, decayed
from strategies.strategy import StageContext, Tensors


@dataclass
class EWC(Regulariser):
    """Penalise changes to weights that mattered to earlier tasks (Kirkpatrick et al. 2017, eq. 3).

    Penalty: strength x sum_i I_i (theta_i - theta*_i)^2, theta* the weights at the start of the stage.
    The strength is lambda / 2 of that equation.
    I is the diagonal of the Fisher information, normalised to sum to 1. Its estimate is the mean squared
    gradient of an example's loss at the true answer (the empirical Fisher). Earlier tasks' importances are
    summed with `decay` per stage (1 = the plain sum; less = online EWC, Schwarz et al. 2018, eq. 9).
    `strategies/regulariser.py` computes both.
    """

    name = "ewc"
    strength: float = knob(
        DEFAULT_STRENGTH,
        FloatDistribution(1e2, 1e11, log=True),
        "weight of the penalty (lambda / 2), for importances that sum to 1",
        off=0.0,
    )
    decay: float = knob(
        1.0, FloatDistribution(0.0, 1.0), "factor of older tasks' importance per stage"
    )

    @property
    def estimator(self) -> str:
        return self.name

    def effective(self, context: StageContext) -> dict[str, Value]:
        knobs = super().effective(context)
        return knobs | ({"decay": self.decay} if knobs and len(context.before) > 1 else {})

    def combined_importance(self, kept: Sequence[Tensors], context: StageContext) -> Tensors:
        return decayed(kept, context, self.decay)
