"""Named searches: functions that return a `SearchPlan`, derived from one another."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from search.plan.search_plan import SearchPlan
from spaces.references import REFERENCES
from strategies import STRATEGIES

NO_MEMORY_SAVING = {"precision": "fp32", "checkpointing": False}
"""Training knobs that save memory, off: the embedded models are small."""
MINI_TRAINING = {"epochs": 2, "learning_rate": 4e-3, "batch_size": 8, **NO_MEMORY_SAVING}
"""Training of the embedded models: far larger steps than the published ones of 7B models."""
MINI_SPACE = {
    **{
        f"{name}.ratio": {"low": 0.01, "high": 0.3, "log": True}
        for name in ("replay", "der", "a_gem")
    },
    **{f"{name}.importance_examples": 192 for name in ("ewc", "mas", "tir")},
    **{f"{name}.importance_batch": 16 for name in ("ewc", "mas", "tir")},
    **{"eproj.learning_rate": 0.0, "eproj.key_steps": 500},
}
"""Domains for tasks of 400 examples: shares below 1 % would draw none. Experts learn at the plan's rate."""


MINI_STRENGTHS = {
    **{f"{name}.strength": {"low": 1e2, "high": 1e5} for name in ("ewc", "mas", "tir")},
    "lwf.strength": {"low": 0.03, "high": 3.0},
}
"""Strengths that have an effect at those learning rates and still allow learning."""
FEW_SHARED = {"training.learning_rate": [2e-3, 4e-3], "adapter.rank": [8, 32]}
"""Few values of the shared knobs: trials that agree in both share their first stages."""


def default() -> SearchPlan:
    """Return a search of four strategies and two shared knobs on four embedded tasks, for two cores."""
    return SearchPlan(
        plan="default",
        tasks=("animal", "flag_continent", "digit", "textile"),
        orderings="given+reverse",
        initial="none",
        strategies=("replay", "ewc", "eproj", "replay+ewc"),
        samples=16,
        balanced=True,
        reference_samples=2,
        training=MINI_TRAINING,
        adapter={"rank": 8},
        space={**MINI_SPACE, **MINI_STRENGTHS, **FEW_SHARED},
    )


def smoke() -> SearchPlan:
    """Return the default search on two tasks, in both orders and one epoch, to test an installation."""
    return dataclasses.replace(
        default(),
        plan="smoke",
        tasks=("animal", "digit"),
        orderings="given+reverse",
        strategies=("replay", "ewc"),
        samples=2,
        training={**MINI_TRAINING, "epochs": 1},
        space={**MINI_SPACE, **MINI_STRENGTHS},
        confirm=0,
    )


PUBLISHED_TRAINING = {
    **{"epochs": 1, "batch_size": 64, "micro_batch": 4, "precision": "bf16", "zero": 2},
    **{"schedule": "cosine", "warmup": 0.03, "weight_decay": 0.0},
}
"""Values that the field's published scripts agree on; batches of 64 are our choice (theirs: 64 to 640)."""


CONNECTOR_TRAINING = {**MINI_TRAINING, "epochs": 3, "learning_rate": 7e-3}
"""Training of the connector alone, as He et al. train it: more steps than with LoRA beside it."""
SEARCHED = tuple(name for name in STRATEGIES if name not in REFERENCES)
"""Every strategy but the references."""


def mini_1() -> SearchPlan:
    """Return a search like benchmark 1 of He et al. 2023: five tasks, a start trained on captions alone."""
    return dataclasses.replace(
        default(),
        plan="mini_1",
        model="llava-aligned",
        tasks=("emoji_caption", "sign_meaning", "animal", "word", "flag_continent"),
        orderings="given+reverse",
        strategies=SEARCHED,
        samples=5 * len(SEARCHED),
        balanced=True,
        # With forgetting as an objective, a proposal that learns and forgets nothing would be good.
        objectives=("final_average",),
        stopping="none",
        training=CONNECTOR_TRAINING,
        adapter={"parts": "connector"},
        space={**MINI_SPACE, **MINI_STRENGTHS},
    )


def mini_2() -> SearchPlan:
    """Return a search like benchmark 2: four tasks, a start that has learned the initial ones."""
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
    """Return a preset's benchmark with the published training settings; the user names model and data."""
    return SearchPlan(
        plan=name,
        benchmark=name,
        model="",
        initial=initial,
        training={**PUBLISHED_TRAINING, "learning_rate": rate},
        adapter=adapter,
    )


def paper_1() -> SearchPlan:
    """Return He et al. 2023 from BLIP-2: only queries, Q-Former and projection are trained."""
    return _published("paper_1", 2e-5, {"parts": "connector"})


def paper_2() -> SearchPlan:
    """Return He et al. 2023 from InstructBLIP, which has learned the initial tasks; else as `paper_1`."""
    return _published("paper_2", 2e-5, {"parts": "connector"}, initial="known")


def coin() -> SearchPlan:
    """Return CoIN: LoRA of rank 128 beside the projector, whose own rate, 2e-5, is not supported here."""
    return _published("coin", 2e-4, {"rank": 128, "alpha_per_rank": 2.0})


def ucit() -> SearchPlan:
    """Return UCIT as MCITlib trains it: LoRA of rank 16."""
    return _published("ucit", 2e-4, {"rank": 16, "alpha_per_rank": 2.0})


def mllm_dcl() -> SearchPlan:
    """Return MLLM-CL's domains: LoRA of rank 128, at a tenth of CoIN's rate."""
    return _published("mllm_dcl", 2e-5, {"rank": 128, "alpha_per_rank": 2.0})


def mllm_acl() -> SearchPlan:
    """Return MLLM-CL's abilities, trained as its domains."""
    return _published("mllm_acl", 2e-5, {"rank": 128, "alpha_per_rank": 2.0})


PLANS: dict[str, Callable[[], SearchPlan]] = {
    plan.__name__: plan
    for plan in (smoke, default, mini_1, mini_2, paper_1, paper_2, coin, ucit, mllm_dcl, mllm_acl)
}
