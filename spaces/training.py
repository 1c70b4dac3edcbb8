"""Training knobs that every strategy shares: the optimisation of one stage."""

from __future__ import annotations

from dataclasses import dataclass

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from spaces.domains import knob
from spaces.errors import InputError
from spaces.loading import Loading

MOST_AT_ONCE = 16
"""Largest automatic micro-batch, in examples per rank and forward pass."""


@dataclass(frozen=True)
class Training:
    """Optimisation of one stage. Defaults are LoRA tuning as LLaVA-1.5 and CoIN publish it."""

    epochs: int = knob(1, IntDistribution(1, 100), "passes over the stage's examples")
    batch_size: int = knob(16, IntDistribution(1, 4096), "examples per optimizer step, all ranks")
    micro_batch: int = knob(
        0,
        IntDistribution(0, 4096),
        "examples per rank and forward pass; 0 = a rank's share of the batch, or the largest part of "
        f"it up to {MOST_AT_ONCE}",
    )
    last_batch: str = knob(
        "train",
        CategoricalDistribution(["train", "drop"]),
        "the rest of an epoch that fills no batch: trained as a smaller batch, or carried over into the "
        "next epoch and left out of the last",
    )
    learning_rate: float = knob(
        2e-4, FloatDistribution(1e-6, 1e-1, log=True), "peak learning rate of AdamW"
    )
    schedule: str = knob(
        "cosine",
        CategoricalDistribution(["cosine", "linear", "constant_with_warmup"]),
        "schedule of the learning rate",
    )
    warmup: float = knob(
        0.03, FloatDistribution(0.0, 0.5), "share of the steps in which the learning rate rises"
    )
    weight_decay: float = knob(0.0, FloatDistribution(0.0, 1.0), "decoupled weight decay of AdamW")
    clip: float = knob(1.0, FloatDistribution(0.0, 100.0), "largest gradient norm; 0 = no clipping")
    grouped: bool = knob(
        False,
        CategoricalDistribution([False, True]),
        "batches of prompts of similar length: less padding, but replayed tasks with prompts of another "
        "length are in separate batches",
    )
    longest: int = knob(
        0,
        IntDistribution(0, 1 << 20),
        "largest number of tokens of prompt and answer, images included; 0 = the model's positions",
    )
    precision: str = knob(
        "bf16", CategoricalDistribution(["fp32", "bf16"]), "precision of the weights in compute"
    )
    zero: int = knob(
        0, CategoricalDistribution([0, 1, 2, 3]), "DeepSpeed ZeRO stage; with bf16, 0 acts as 1"
    )
    offload: str = knob(
        "none",
        CategoricalDistribution(["none", "optimizer", "all"]),
        "state that DeepSpeed keeps in CPU memory: AdamW's (ZeRO 1-3), or parameters too (ZeRO 3)",
    )
    checkpointing: bool = knob(
        True,
        CategoricalDistribution([False, True]),
        "activation checkpointing: compute layers twice, and hold one layer's activations at a time",
    )
    attention: str = knob(
        "auto",
        CategoricalDistribution(["auto", "eager", "sdpa", "flash_attention_2"]),
        "implementation of attention; auto = the fastest that transformers finds",
    )
    base_bits: int = knob(
        16,
        CategoricalDistribution([4, 16]),
        "bits of the frozen language model; 4 = NF4 as in QLoRA (needs bitsandbytes)",
    )

    def __post_init__(self) -> None:
        if self.offload == "all" and self.zero != 3:
            raise InputError(
                f"training.offload all needs training.zero 3, got {self.zero}; offload optimizer would "
                "do, or zero 3"
            )
        if self.offload == "optimizer" and not (self.zero or self.precision == "bf16"):
            raise InputError("training.offload optimizer needs training.zero 1, 2 or 3, got 0")
        if self.base_bits == 4 and (self.zero == 3 or self.precision != "bf16"):
            raise InputError(
                "training.base_bits 4 needs precision bf16 and zero 0, 1 or 2 (packed weights cannot be "
                f"split up), got {self.precision} and {self.zero}"
            )

    @property
    def loading(self) -> Loading:
        """Decisions made when the base model is loaded."""
        reentrant = self.checkpointing and self.zero == 3
        return Loading(
            self.precision, self.attention, self.base_bits, self.checkpointing, reentrant
        )

    def per_pass(self, workers: int) -> int:
        """Return the examples per rank and forward pass; raises `InputError` if they do not divide."""
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
        """Return the forward passes per step and rank; raises `InputError` as `per_pass` does."""
        return self.batch_size // (self.per_pass(workers) * workers)
