"""Memory aware synapses."""

from __future__ import annotations

from dataclasses import dataclass

from optuna.distributions import FloatDistribution

from spaces.domains import knob
from strategies.ewc import EWC
from strategies.regulariser import DEFAULT_STRENGTH


@dataclass
class MAS(EWC):
    """Penalise changes to weights that the outputs are sensitive to (Aljundi et al. 2018, eq. 3).

    The penalty is EWC's; its importance needs no labels. It is the mean absolute gradient of the squared
    length of the logits, normalised to sum to 1. The mean is over an example's answer tokens, then over
    examples.
    """

    name = "mas"
    strength: float = knob(
        DEFAULT_STRENGTH,
        FloatDistribution(1e2, 1e11, log=True),
        "weight of the penalty (lambda), for importances that sum to 1",
        off=0.0,
    )
