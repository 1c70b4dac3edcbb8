"""The adapter knobs that every strategy shares: which parts of the LMM are trained, and how wide."""

from __future__ import annotations

from dataclasses import dataclass

from optuna.distributions import CategoricalDistribution, FloatDistribution

from spaces.domains import knob

PARTS = ("connector", "lm_lora", "connector+lm_lora")


@dataclass(frozen=True)
class Adapter:
    """What is trained; everything else is frozen. LoRA follows Hu et al. 2021, through peft."""

    parts: str = knob("connector+lm_lora", CategoricalDistribution(PARTS), "the parts trained")
    rank: int = knob(16, CategoricalDistribution([1, 2, 4, 8, 16, 32, 64, 128]), "of LoRA's update")
    alpha_per_rank: float = knob(2.0, FloatDistribution(0.1, 16.0), "LoRA scaling alpha / rank")
    dropout: float = knob(0.0, FloatDistribution(0.0, 0.5), "on LoRA's input")

    @property
    def lora(self) -> bool:
        """Whether low-rank adapters are put on the language model."""
        return "lm_lora" in self.parts

    @property
    def connector(self) -> bool:
        """Whether what joins vision tower and language model is trained."""
        return "connector" in self.parts

    def effective(self) -> dict[str, object]:
        """The knobs that have effect: without LoRA its width means nothing."""
        if not self.lora:
            return {"parts": self.parts}
        return {
            "parts": self.parts,
            "rank": self.rank,
            "alpha_per_rank": self.alpha_per_rank,
            "dropout": self.dropout,
        }
