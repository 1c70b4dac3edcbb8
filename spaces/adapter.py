"""The adapter knobs that every strategy shares: which parts of the LMM are trained, and how wide."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from optuna.distributions import CategoricalDistribution, FloatDistribution

from spaces.domains import knob

JOINING = ("connector", "qformer", "projection")
"""What joins vision tower and language model: all of it, its Q-Former, or what comes after that."""
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
    """What is trained; everything else is frozen. LoRA follows Hu et al. 2021, through peft."""

    parts: str = knob(
        "connector+lm_lora",
        CategoricalDistribution(PARTS),
        "the parts trained: connector (or its qformer or projection alone), lm_lora or lm (all of the "
        "language model), vision_lora, joined by +",
    )
    rank: int = knob(16, CategoricalDistribution([1, 2, 4, 8, 16, 32, 64, 128]), "of LoRA's update")
    alpha_per_rank: float = knob(2.0, FloatDistribution(0.1, 16.0), "LoRA scaling alpha / rank")
    dropout: float = knob(0.0, FloatDistribution(0.0, 0.5), "on LoRA's input")
    targets: str = knob("all", CategoricalDistribution(list(TARGETS)), "the layers that LoRA is on")

    def trains(self, *parts: str) -> bool:
        """Whether any of these is trained."""
        return not set(parts).isdisjoint(self.parts.split("+"))

    @property
    def lora(self) -> bool:
        """Whether low-rank adapters are put on anything."""
        return self.trains("lm_lora", "vision_lora")

    @property
    def language(self) -> bool:
        """Whether anything is trained that a prompt without an image passes through."""
        return self.trains("lm_lora", "lm")

    def effective(self) -> dict[str, object]:
        """The knobs that have effect: without LoRA its width means nothing."""
        if not self.lora:
            return {"parts": self.parts}
        return {
            "parts": self.parts,
            "rank": self.rank,
            "alpha_per_rank": self.alpha_per_rank,
            "dropout": self.dropout,
            "targets": self.targets,
        }
