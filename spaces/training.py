"""The training knobs that every strategy shares: how one stage is optimised."""

from __future__ import annotations

from dataclasses import dataclass

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from spaces.domains import knob
from spaces.errors import InputError

MOST_AT_ONCE = 16


@dataclass(frozen=True)
class Training:
    """How one stage is trained. Defaults are LoRA tuning as LLaVA-1.5 and CoIN publish it."""

    epochs: int = knob(1, IntDistribution(1, 100), "passes over the stage's examples")
    batch_size: int = knob(16, IntDistribution(1, 4096), "examples per optimizer step, all ranks")
    micro_batch: int = knob(
        0,
        IntDistribution(0, 4096),
        "examples per rank and forward pass; 0 = a rank's share of the batch, or the largest part of "
        f"it up to {MOST_AT_ONCE}",
    )
    learning_rate: float = knob(2e-4, FloatDistribution(1e-6, 1e-1, log=True), "peak, AdamW")
    schedule: str = knob(
        "cosine",
        CategoricalDistribution(["cosine", "linear", "constant_with_warmup"]),
        "of the rate",
    )
    warmup: float = knob(0.03, FloatDistribution(0.0, 0.5), "share of the steps")
    weight_decay: float = knob(0.0, FloatDistribution(0.0, 1.0), "AdamW's, decoupled")
    clip: float = knob(1.0, FloatDistribution(0.0, 100.0), "largest gradient norm; 0 = no clipping")
    precision: str = knob(
        "fp32", CategoricalDistribution(["fp32", "bf16"]), "of weights in compute"
    )
    zero: int = knob(
        0, CategoricalDistribution([0, 1, 2, 3]), "DeepSpeed ZeRO stage; with bf16, 0 acts as 1"
    )

    def per_pass(self, workers: int) -> int:
        """Examples per rank and forward pass; raises `InputError` if the batch does not divide."""
        share, rest = divmod(self.batch_size, workers)
        if rest:
            raise InputError(
                f"batch_size must be a multiple of the workers, got {self.batch_size} and {workers}; "
                f"batch_size {(share + 1) * workers} would do, in a plan's training"
            )
        if self.micro_batch and share % self.micro_batch:
            raise InputError(
                f"batch_size must be a multiple of micro_batch x workers, got {self.batch_size} and "
                f"{self.micro_batch} x {workers}; micro_batch {share} would do, in a plan's training"
            )
        parts = (n for n in range(min(share, MOST_AT_ONCE), 0, -1) if share % n == 0)
        return self.micro_batch or next(parts)

    def accumulation(self, workers: int) -> int:
        """Forward passes per optimizer step and rank; raises `InputError` as `per_pass` does."""
        return self.batch_size // (self.per_pass(workers) * workers)
