"""Learning without forgetting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from optuna.distributions import FloatDistribution

from spaces.domains import Value, knob
from strategies.outputs import Outputs
from strategies.strategy import StageContext, Strategy, Tensors


@dataclass
class LwF(Strategy):
    """Keep the outputs on new examples near those before the stage (Li and Hoiem 2016, eq. 2).

    Adds strength x KL(teacher || student) to the loss, averaged over the answers' tokens as the loss is.
    The teacher is the model at the end of the stage before; no examples of earlier tasks are needed.
    """

    name = "lwf"
    strength: float = knob(
        1.0, FloatDistribution(0.01, 100.0, log=True), "weight of the divergence (lambda)", off=0.0
    )

    def effective(self, context: StageContext) -> dict[str, Value]:
        return {"strength": self.strength} if context.before and self.strength else {}

    def prepare(self, start: Tensors, kept: Sequence[Tensors], context: StageContext) -> None:
        self.active = bool(context.before and self.strength)

    def needs_teacher(self) -> bool:
        return self.active

    def distil(self, outputs: Outputs) -> torch.Tensor | None:
        if outputs.teacher is None or not self.active:
            return None
        return self.strength * divergence(outputs.teacher, outputs.logits, outputs.within)


def divergence(teacher: torch.Tensor, student: torch.Tensor, within: torch.Tensor) -> torch.Tensor:
    """Return KL(teacher || student) in nats, summed over `within`; logits (examples, tokens, words)."""
    before, now = (torch.log_softmax(logits[within], dim=-1) for logits in (teacher, student))
    return torch.nn.functional.kl_div(now, before, reduction="sum", log_target=True)
