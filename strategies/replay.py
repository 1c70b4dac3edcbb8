"""Experience replay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from spaces.domains import Value, knob
from strategies.replay_memory import cyclic_batch, draw_memory, empty_memory_warning, interleaved
from strategies.strategy import ExampleId, Permutations, StageContext, Strategy

RATIO = FloatDistribution(0.001, 0.3, log=True)
"""Domain of a memory's share of each earlier task."""


@dataclass
class Replay(Strategy):
    """Train a share of every earlier task again with the new task (He et al. 2023, §3).

    Variant `ratio`: a stage trains the new task and int(ratio x size) examples of each earlier one, drawn
    without replacement. `count`: `count` examples of each earlier one instead. `share`: a memory of
    int(ratio x size) examples of each fills `share` of every batch (Chaudhry et al. 2019, tiny episodic
    memories). A small memory is thus trained as often as a large one. The smaller last batch of an epoch
    gets as many replayed examples. A draw is a prefix of one permutation per task, so a smaller memory is
    part of a larger one.
    """

    name = "replay"
    rehearses = True
    ratio: float = knob(0.01, RATIO, "share of each earlier task that is trained again", off=0.0)
    variant: str = knob(
        "ratio",
        CategoricalDistribution(["ratio", "count", "share"]),
        "amount replayed: a ratio of each task, a count of it, or a share of each batch",
        False,
    )
    count: int = knob(
        100,
        IntDistribution(1, 1_000_000),
        "examples of each earlier task, for variant count",
        False,
        0,
    )
    share: float = knob(
        0.25,
        FloatDistribution(0.01, 0.75),
        "share of each batch, for variant share",
        False,
        off=0.0,
    )

    @classmethod
    def example_knobs(cls) -> dict[str, Value]:
        return {"ratio": 0.3}

    @classmethod
    def off_knobs(cls) -> list[dict[str, Value]]:
        return [
            {"ratio": 0},
            {"variant": "share", "ratio": 0},
            {"variant": "share", "share": 0},
            {"variant": "count", "count": 0},
        ]

    def effective(self, context: StageContext) -> dict[str, Value]:
        amount = {"ratio": self.ratio, "count": self.count, "share": self.share * self.ratio}
        if not context.before or not amount[self.variant]:
            return {}
        if self.variant == "share":
            return {"ratio": self.ratio, "share": self.share}
        return {self.variant: getattr(self, self.variant)}

    def warning(self, sizes: Mapping[str, int]) -> str:
        return "" if self.variant == "count" else empty_memory_warning(self.name, self.ratio, sizes)

    def mix(
        self, picks: list[ExampleId], old: Mapping[str, int], shuffled: Permutations
    ) -> list[ExampleId]:
        memory = {}
        if self.variant != "count" or self.count:
            memory = draw_memory(old, shuffled, self.ratio, self.count * (self.variant == "count"))
        self.memory = interleaved(memory)
        if self.variant == "share":
            return picks
        return picks + [(task, row) for task, rows in memory.items() for row in rows]

    def replayed_per_batch(self, batch_size: int) -> int:
        if self.variant != "share" or not self.memory or not self.share:
            return 0
        return min(batch_size - 1, max(1, round(self.share * batch_size)))

    def replay_batch(self, step: int, count: int) -> list[ExampleId]:
        return cyclic_batch(self.memory, step, count)
