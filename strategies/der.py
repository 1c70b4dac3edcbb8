"""Dark experience replay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from optuna.distributions import FloatDistribution

from spaces.domains import Value, knob
from strategies.outputs import Outputs
from strategies.replay import RATIO
from strategies.replay_memory import draw_memory, empty_memory_warning
from strategies.strategy import ExampleId, Learner, Permutations, StageContext, Strategy, Tensors

BATCH_SIZE = 8
"""Examples per forward pass when logits are stored."""


@dataclass
class DER(Strategy):
    """Replay old examples and match the logits once given to them (DER++, Buzzega et al. 2020, eq. 6).

    int(ratio x size) examples of each earlier task are trained again. Their loss is
    alpha x (mean squared difference to their stored logits) + beta x (their own loss), both at the
    answers' tokens. The logits are stored at the end of the task's own stage; Buzzega et al., who know no
    task boundaries, store them during training. They take 2 bytes x vocabulary per answer token.
    """

    name = "der"
    rehearses = True
    ratio: float = knob(0.01, RATIO, "share of each earlier task in the memory", off=0.0)
    alpha: float = knob(
        0.1,
        FloatDistribution(1e-3, 10.0, log=True),
        "weight of the distance to the stored logits",
        off=0.0,
    )
    beta: float = knob(0.5, FloatDistribution(0.0, 2.0), "weight of the replayed answers' own loss")

    @classmethod
    def example_knobs(cls) -> dict[str, Value]:
        return {"ratio": 0.3}

    @classmethod
    def off_knobs(cls) -> list[dict[str, Value]]:
        return [{"ratio": 0}]  # without alpha, it is replay

    def effective(self, context: StageContext) -> dict[str, Value]:
        return self.knobs() if context.before and self.ratio else {}

    def consolidation_knobs(self) -> dict[str, Value] | None:
        return {"ratio": self.ratio} if self.ratio and self.alpha else None

    def warning(self, sizes: Mapping[str, int]) -> str:
        return empty_memory_warning(self.name, self.ratio, sizes)

    def prepare(self, start: Tensors, kept: Sequence[Tensors], context: StageContext) -> None:
        self.logits: dict[ExampleId, torch.Tensor] = {}
        for task, of_task in zip(context.old, kept, strict=False):
            lengths = of_task["lengths"].tolist()
            for row, logits in zip(
                of_task["rows"].tolist(), of_task["logits"].split(lengths), strict=True
            ):
                self.logits[task, row] = logits

    def mix(
        self, picks: list[ExampleId], old: Mapping[str, int], shuffled: Permutations
    ) -> list[ExampleId]:
        memory = draw_memory(old, shuffled, self.ratio)
        self.replayed = {(task, row) for task, rows in memory.items() for row in rows}
        return picks + [(task, row) for task, rows in memory.items() for row in rows]

    def distil(self, outputs: Outputs) -> torch.Tensor | None:
        rows = [i for i, pick in enumerate(outputs.picks) if pick in self.replayed]
        if not rows:
            return None
        loss = (self.beta - 1) * outputs.nll(rows)
        for row in rows if self.alpha else ():
            stored = self.logits[outputs.picks[row]].to(outputs.logits)
            logits = outputs.logits[row, : len(stored)]
            loss = loss + self.alpha * (logits - stored).square().mean(-1).sum()
        return loss

    def consolidate(self, learner: Learner, task: str, size: int) -> Tensors:
        """Return the memory's logits, their lengths and rows.

        `logits` (answer tokens of all examples, vocabulary) in fp16, `lengths` and `rows` (examples).
        """
        rows = learner.shuffled(task)[: int(self.ratio * size)]
        answers, lengths = [], []
        for outputs in learner.outputs([(task, row) for row in rows], BATCH_SIZE):
            for logits, within in zip(outputs.logits, outputs.within, strict=True):
                answers.append(logits[within].half().cpu())
                lengths.append(len(answers[-1]))
        logits = torch.cat(answers) if answers else torch.zeros(0, 0, dtype=torch.float16)
        kept = {"lengths": lengths, "rows": rows}
        return {n: torch.tensor(v, dtype=torch.long) for n, v in kept.items()} | {"logits": logits}
