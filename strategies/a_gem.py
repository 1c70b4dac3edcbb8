"""Averaged gradient episodic memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from spaces.domains import Value, knob
from strategies.replay import RATIO
from strategies.replay_memory import cyclic_batch, draw_memory, empty_memory_warning, interleaved
from strategies.strategy import ExampleId, Permutations, StageContext, Strategy, Tensors


@dataclass
class AGEM(Strategy):
    """Remove the part of each gradient that opposes a memory's gradient (Chaudhry et al. 2019, eq. 11).

    If the batch's gradient g opposes the memory's gradient g_ref (g.g_ref < 0), it becomes
    g - (g.g_ref / |g_ref|^2) g_ref. The memory holds int(ratio x size) examples of each earlier task.
    Each step takes its next batch, of `batch_size` examples even where the training batch is an epoch's
    smaller last one.
    """

    name = "a_gem"
    ratio: float = knob(0.01, RATIO, "share of each earlier task in the memory", off=0.0)

    @classmethod
    def example_knobs(cls) -> dict[str, Value]:
        return {"ratio": 0.3}

    def effective(self, context: StageContext) -> dict[str, Value]:
        return {"ratio": self.ratio} if context.before and self.ratio else {}

    def warning(self, sizes: Mapping[str, int]) -> str:
        return empty_memory_warning(self.name, self.ratio, sizes)

    def mix(
        self, picks: list[ExampleId], old: Mapping[str, int], shuffled: Permutations
    ) -> list[ExampleId]:
        self.memory = interleaved(draw_memory(old, shuffled, self.ratio))
        return picks

    def memory_batch(self, step: int, batch_size: int) -> list[ExampleId]:
        return cyclic_batch(self.memory, step, batch_size)

    def project(self, gradient: Tensors, memory_gradient: Tensors) -> Tensors:
        product = inner_product(gradient, memory_gradient)
        if product >= 0:
            return gradient
        scale = product / inner_product(memory_gradient, memory_gradient)
        return {name: value - scale * memory_gradient[name] for name, value in gradient.items()}


def inner_product(one: Tensors, other: Tensors) -> float:
    """Return the inner product of two gradients, summed in double precision."""
    return sum(float(torch.sum(one[n].double() * other[n].double())) for n in one)
