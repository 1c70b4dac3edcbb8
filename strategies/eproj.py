"""Expanding projections."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from spaces.adapter import Adapter
from spaces.domains import Value, knob
from spaces.training import Training
from strategies.similarity import SIGNALS, combine_signals
from strategies.strategy import Learner, Queries, StageContext, StartFrom, Strategy, Tensors

KEY_WEIGHT = 0.1
"""Factor of the keys' loss."""
KEY_BATCH = 64
"""Queries per step of a key."""


@dataclass
class EProj(Strategy):
    """Train a projection per task, and retrieve one by image and instruction (He et al. 2023, EProj).

    Everything but the new task's projection, its expert, is frozen. If the similarity to an old task
    exceeds `threshold`, that task's expert is trained further instead; 1 always expands, as the paper's
    code does, and 0 never. Each task has two keys, trained for `key_steps` with the loss
    0.1 sum [(1 - cos(q_image, K_image)) + (1 - cos(q_instruction, K_instruction))] over its examples.
    At test time the task is unknown: the expert whose keys have the largest sum of cosines answers.
    """

    name = "eproj"
    needs_similarity = True
    has_experts = True
    threshold: float = knob(
        1.0, FloatDistribution(0.0, 1.0), "similarity above which an old expert is trained further"
    )
    init: str = knob(
        "pretrained",
        CategoricalDistribution(["pretrained", "similar"]),
        "initial weights of a new expert: the model's own, or the most similar task's",
    )
    learning_rate: float = knob(
        1e-3,
        FloatDistribution(1e-6, 1e-1, log=True),
        "learning rate of experts; 0 = training.learning_rate",
        False,
        off=0.0,
    )
    expert: str = knob(
        "projection",
        CategoricalDistribution(["projection", "trained"]),
        "parts of each expert: the projection, or all that adapter.parts trains",
        False,
    )
    signal: str = knob(
        SIGNALS[0],
        CategoricalDistribution(list(SIGNALS)),
        "modalities whose similarities are multiplied",
        False,
    )
    key_steps: int = knob(2000, IntDistribution(1, 100_000), "training steps of keys", False)
    key_rate: float = knob(
        5e-3, FloatDistribution(1e-4, 1.0, log=True), "learning rate of keys (Adam)", False
    )
    routing: str = knob(
        "retrieved",
        CategoricalDistribution(["retrieved", "oracle"]),
        "expert that answers: the retrieved one, or (a control) the one of the example's task",
        False,
    )

    @classmethod
    def example_knobs(cls) -> dict[str, Value]:
        return {"expert": "trained", "learning_rate": 0, "key_steps": 50, "key_rate": 0.05}

    @classmethod
    def off_knobs(cls) -> list[dict[str, Value]]:
        """Return the knobs of one expert for all tasks, trained as the model itself is."""
        return [{"threshold": 0, "expert": "trained", "learning_rate": 0}]

    def override_shared(self, training: Training, adapter: Adapter) -> tuple[Training, Adapter]:
        if self.learning_rate:
            training = dataclasses.replace(training, learning_rate=self.learning_rate)
        if self.expert == "projection":
            adapter = dataclasses.replace(adapter, parts="projection")
        return training, adapter

    def begin(self, context: StageContext) -> StartFrom:
        if not context.before:
            return StartFrom(None, expert=True)
        similar = combine_signals(context.similarity, self.signal)
        nearest = max(range(len(similar)), key=similar.__getitem__)
        again = similar[nearest] > self.threshold or self.threshold == 0
        if again and self.threshold < 1:
            return StartFrom(context.old[nearest])
        return StartFrom(context.old[nearest] if self.init == "similar" else None, expert=True)

    def consolidation_knobs(self) -> dict[str, Value]:
        return {"key_steps": self.key_steps, "key_rate": self.key_rate}

    def routing_knobs(self) -> dict[str, Value]:
        return {"routing": self.routing}

    def consolidate(self, learner: Learner, task: str, size: int) -> Tensors:
        """Return the task's keys, `image` and `instruction`, each as wide as its queries."""
        queries = learner.queries(task)
        return {
            "image": train_key(queries.image, self.key_steps, self.key_rate),
            "instruction": train_key(queries.instruction, self.key_steps, self.key_rate),
        }

    def route(self, queries: Queries, kept: Sequence[Tensors], true_task: int | None) -> list[int]:
        if self.routing == "oracle" and true_task is not None:
            return [true_task] * len(queries.image)
        similarity = [
            cosine(queries.image, keys["image"]) + cosine(queries.instruction, keys["instruction"])
            for keys in kept
        ]
        return torch.stack(similarity).argmax(dim=0).tolist()


def train_key(queries: torch.Tensor, steps: int, rate: float) -> torch.Tensor:
    """Train a vector to have a high cosine with the queries (examples, width).

    Every task's key begins at the same normal draw, so it depends on the queries alone. Batches cycle
    through the queries. If all queries are zero, as those of a task without images, the key is zero.
    """
    if not queries.any():
        return torch.zeros(queries.shape[1])
    generator = torch.Generator().manual_seed(0)
    vector = torch.randn(queries.shape[1], generator=generator).requires_grad_(True)
    order = torch.randperm(len(queries), generator=generator)
    optimizer = torch.optim.Adam([vector], lr=rate)
    size = min(KEY_BATCH, len(queries))
    with torch.enable_grad():
        for step in range(steps):
            rows = order[(torch.arange(size) + step * size) % len(queries)]
            loss = KEY_WEIGHT * (1 - cosine(queries[rows], vector)).sum()
            (vector.grad,) = torch.autograd.grad(loss, [vector])
            optimizer.step()
    return vector.detach()


def cosine(queries: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """Return the cosine of each query (examples, width) and the key (width,); 0 for a zero query."""
    return torch.nn.functional.cosine_similarity(queries, key[None], dim=-1)
