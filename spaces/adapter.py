"""Adapter knobs that every strategy shares: the trained parts of the LMM, and LoRA's size."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from optuna.distributions import CategoricalDistribution, FloatDistribution

from spaces.domains import knob

JOINING = ("connector", "qformer", "projection")
"""Parts between vision tower and language model: all, the Q-Former, or the rest after it."""
PARTS = tuple(
    "+".join(parts)
    for chosen in itertools.product((*JOINING, ""), ("lm_lora", "lm", ""), ("vision_lora", ""))
    if (parts := tuple(part for part in chosen if part))
)
TARGETS = {
    "all": "every linear layer",
    "attention": "those of attention",
    "qv": "queries and values",
}


@dataclass(frozen=True)
class Adapter:
    """Trained parts; everything else is frozen. LoRA follows Hu et al. 2021, through peft."""

    parts: str = knob(
        "connector+lm_lora",
        CategoricalDistribution(PARTS),
        "trained parts: connector (or its qformer or projection alone), lm_lora or lm (the whole language "
        "model), vision_lora, joined by +",
    )
    rank: int = knob(
        16, CategoricalDistribution([1, 2, 4, 8, 16, 32, 64, 128]), "rank of LoRA's update"
    )
    alpha_per_rank: float = knob(2.0, FloatDistribution(0.1, 16.0), "LoRA scaling alpha / rank")
    dropout: float = knob(0.0, FloatDistribution(0.0, 0.5), "dropout on LoRA's input")
    targets: str = knob(
        "all",
        CategoricalDistribution(list(TARGETS)),
        "layers that have LoRA: all linear ones, attention's, or its queries and values",
    )

    def trains(self, *parts: str) -> bool:
        """Return True if any of these is trained."""
        return not set(parts).isdisjoint(self.parts.split("+"))

    @property
    def lora(self) -> bool:
        """True if any layer has a low-rank adapter."""
        return self.trains("lm_lora", "vision_lora")

    @property
    def language(self) -> bool:
        """True if a prompt without an image passes through a trained part."""
        return self.trains("lm_lora", "lm")

    def effective(self) -> dict[str, object]:
        """Return the knobs that have an effect: without LoRA, only the parts."""
        if not self.lora:
            return {"parts": self.parts}
        return {
            "parts": self.parts,
            "rank": self.rank,
            "alpha_per_rank": self.alpha_per_rank,
            "dropout": self.dropout,
            "targets": self.targets,
        }
