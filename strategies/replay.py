"""Experience replay."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from optuna.distributions import FloatDistribution

from spaces.domains import Value, knob
from strategies.strategy import Pick, Strategy


@dataclass
class Replay(Strategy):
    """A share of every earlier task's examples is trained again with the new task (He et al. 2023, §3).

    The training set of a stage is all of the new task and int(ratio x size) examples, drawn without
    replacement, of each earlier one. The draw is a prefix of one permutation per task, so that a
    smaller ratio's memory is part of a larger one's.
    """

    name = "replay"
    ratio: float = knob(
        0.01,
        FloatDistribution(0.001, 0.3, log=True),
        "share of each earlier task that is seen again",
    )

    def effective(self, stage: int) -> dict[str, Value]:
        return {"ratio": self.ratio} if stage > 1 else {}

    def caution(self, sizes: Mapping[str, int]) -> str:
        empty = [task for task, size in sizes.items() if int(self.ratio * size) == 0]
        if not empty:
            return ""
        return f"replay with ratio {self.ratio:g} draws no example of {', '.join(empty)}"

    def mix(
        self,
        new: Mapping[str, int],
        old: Mapping[str, int],
        shuffled: Callable[[str], Sequence[int]],
    ) -> list[Pick]:
        picks = super().mix(new, old, shuffled)
        for task, size in old.items():
            picks += [(task, row) for row in shuffled(task)[: int(self.ratio * size)]]
        return picks
