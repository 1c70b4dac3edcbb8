"""Memory aware synapses."""

from __future__ import annotations

from dataclasses import dataclass

from optuna.distributions import FloatDistribution

from spaces.domains import knob
from strategies.ewc import EWC
from strategies.regulariser import DEFAULT_STRENGTH


@dataclass
class MAS(EWC):
    """Weights that what the model says hangs on are held near their values (Aljundi et al. 2018, eq. 3).

    EWC's penalty with another importance, which needs no answers to be right: the mean absolute gradient
    of the squared length of the logits, averaged over answer tokens and batches, normalised to sum to 1.
    """

    name = "mas"
    strength: float = knob(
        DEFAULT_STRENGTH,
        FloatDistribution(1e2, 1e11, log=True),
        "lambda, importances sum to 1",
        off=0.0,
    )
