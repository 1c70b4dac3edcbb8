"""Named searches: functions that return a `SearchPlan`, derived from one another."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from search.plan.search_plan import SearchPlan

NO_MEMORY_SAVING = {"precision": "fp32", "checkpointing": False}
"""What saves memory is not for the embedded models."""
MINI_TRAINING = {"epochs": 2, "learning_rate": 4e-3, "batch_size": 8, **NO_MEMORY_SAVING}
"""For the embedded models: small, so far larger steps than the published ones of 7B models."""
MINI_SPACE = {
    **{
        f"{name}.ratio": {"low": 0.01, "high": 0.3, "log": True}
        for name in ("replay", "der", "a_gem")
    },
    **{f"{name}.importance_examples": 192 for name in ("ewc", "mas", "tir")},
    **{f"{name}.importance_batch": 16 for name in ("ewc", "mas", "tir")},
    **{"eproj.learning_rate": 0.0, "eproj.key_steps": 500},
}
"""For tasks of 400 examples: of less than 1 % of them nothing is left. Experts learn at the plan's rate."""


def default() -> SearchPlan:
    """Two strategies on four tasks of the embedded benchmark in three orderings; minutes on two cores."""
    return SearchPlan(
        plan="default",
        tasks=("animal", "flag_continent", "digit", "textile"),
        orderings="shared:3",
        initial="none",
        samples=12,
        training=MINI_TRAINING,
        adapter={"rank": 8},
        space=MINI_SPACE,
    )


def smoke() -> SearchPlan:
    """The same on two tasks, in both orders and one epoch: does everything work here?"""
    return dataclasses.replace(
        default(),
        plan="smoke",
        tasks=("animal", "digit"),
        orderings="given+reverse",
        samples=2,
        training={**MINI_TRAINING, "epochs": 1},
    )


PUBLISHED_TRAINING = {
    **{"epochs": 1, "batch_size": 64, "micro_batch": 4, "precision": "bf16", "zero": 2},
    **{"schedule": "cosine", "warmup": 0.03, "weight_decay": 0.0},
}
"""What the field's published scripts agree on; batches of 64 are our choice (theirs: 64 to 640)."""


CONNECTOR_TRAINING = {**MINI_TRAINING, "epochs": 3, "learning_rate": 7e-3}
"""The connector alone, as He et al. train it, needs more steps than with LoRA beside it."""
MINI_STRENGTHS = {
    **{f"{name}.strength": {"low": 1e2, "high": 1e5} for name in ("ewc", "mas", "tir")},
    "lwf.strength": {"low": 0.03, "high": 3.0},
}
"""Where those learning rates are held back at all, and not altogether."""
SEARCHED = ("replay", "der", "a_gem", "ewc", "mas", "lwf", "tir", "eproj")


def mini_1() -> SearchPlan:
    """As the first benchmark of He et al. 2023: five tasks, a start that has seen captions alone."""
    return dataclasses.replace(
        default(),
        plan="mini_1",
        model="llava-aligned",
        tasks=("emoji_caption", "sign_meaning", "animal", "word", "flag_continent"),
        orderings="given+reverse",
        strategies=SEARCHED,
        samples=5 * len(SEARCHED),
        balanced=True,
        # With forgetting beside it, a proposal that learns nothing, and forgets nothing, is a good one.
        objectives=("final_average",),
        stopping="none",
        training=CONNECTOR_TRAINING,
        adapter={"parts": "connector"},
        space={**MINI_SPACE, **MINI_STRENGTHS},
    )


def mini_2() -> SearchPlan:
    """As the second: four tasks, a start that was jointly instruction-tuned on the initial ones."""
    return dataclasses.replace(
        mini_1(),
        plan="mini_2",
        model="llava-instructed",
        tasks=("emoji_caption", "animal", "word", "flag_continent"),
        initial="known",
    )


def _published(
    name: str, rate: float, adapter: Mapping[str, Any], initial: str = "trained"
) -> SearchPlan:
    """A preset's benchmark with the published training settings; the user names model and data."""
    return SearchPlan(
        plan=name,
        benchmark=name,
        model="",
        initial=initial,
        training={**PUBLISHED_TRAINING, "learning_rate": rate},
        adapter=adapter,
    )


def paper_1() -> SearchPlan:
    """He et al. 2023 from BLIP-2: queries, Q-Former and projection are trained, nothing else."""
    return _published("paper_1", 2e-5, {"parts": "connector"})


def paper_2() -> SearchPlan:
    """He et al. 2023 from InstructBLIP, which has learned the initial tasks; else as `paper_1`."""
    return _published("paper_2", 2e-5, {"parts": "connector"}, initial="known")


def coin() -> SearchPlan:
    """CoIN: LoRA of rank 128 beside the projector (whose own rate, 2e-5, is not told apart here)."""
    return _published("coin", 2e-4, {"rank": 128, "alpha_per_rank": 2.0})


def ucit() -> SearchPlan:
    """UCIT as MCITlib trains it: LoRA of rank 16."""
    return _published("ucit", 2e-4, {"rank": 16, "alpha_per_rank": 2.0})


def mllm_dcl() -> SearchPlan:
    """MLLM-CL's domains: LoRA of rank 128, at a tenth of CoIN's rate."""
    return _published("mllm_dcl", 2e-5, {"rank": 128, "alpha_per_rank": 2.0})


def mllm_acl() -> SearchPlan:
    """MLLM-CL's abilities, trained as its domains."""
    return _published("mllm_acl", 2e-5, {"rank": 128, "alpha_per_rank": 2.0})


PLANS: dict[str, Callable[[], SearchPlan]] = {
    plan.__name__: plan
    for plan in (smoke, default, mini_1, mini_2, paper_1, paper_2, coin, ucit, mllm_dcl, mllm_acl)
}
