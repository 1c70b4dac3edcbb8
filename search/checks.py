"""What a plan must hold, beside what its knobs and files check themselves."""

from __future__ import annotations

import dataclasses
import itertools
import os
import re
from collections.abc import Iterable
from pathlib import Path

from optuna.distributions import IntDistribution

from models.location import folder_family, image_token
from search.front import TRIAL_DIRECTIONS
from search.plans import SearchPlan
from search.space import ConfigSpace
from spaces import Adapter, InputError, unknown
from spaces.loading import check_loading
from strategies import STRATEGIES, strategy_class
from tasks import Demands
from trainables.panel import SCORING, Panel
from trainables.scores import METRICS, WITH_REFERENCE

REFERENCES = ("finetune", "joint")
"""Run first in every search: the floor and the ceiling."""
STAGES = "stages"
"""Folder of the stage store in the storage, beside the searches."""
DATA = "data"
"""Folder of converted data there."""
TRIAL_METRICS = (*(m for m in METRICS if m not in WITH_REFERENCE), *TRIAL_DIRECTIONS)


def check_place(name: str | None, storage: Path) -> None:
    """Raise `InputError` if there can be no folder of this name in the storage."""
    if name is not None and (name in (STAGES, DATA) or not re.fullmatch(r"[\w][\w.-]*", name)):
        raise InputError(
            f'--name must be letters, digits, "_", "-" and "." and not "{STAGES}" or "{DATA}", '
            f'got "{name}"'
        )
    if "://" in str(storage) or ":/" in str(storage):
        raise InputError(f'--storage must be a folder that all nodes see, got "{storage}"')
    there = next(folder for folder in (storage, *storage.parents) if folder.exists())
    if not (there.is_dir() and os.access(there, os.W_OK)):
        raise InputError(
            f'--storage must be a folder that can be written, got "{storage}": "{there}" is none'
        )


def check_model_named(plan: SearchPlan) -> None:
    """Raise `InputError` for a plan that leaves the model to the user, who named none."""
    if not plan.model:
        raise InputError(
            f'the plan "{plan.plan}" leaves the model to you: give --model, or model: in a plan file, '
            "with a folder that from_pretrained reads"
        )


def searched_strategies(plan: SearchPlan) -> tuple[str, ...]:
    """The strategies that are searched; joint tuning is a bound and always runs as one."""
    for name in plan.strategies:
        strategy_class(name)
    searched = tuple(dict.fromkeys(n for n in plan.strategies if n not in REFERENCES))
    if not searched:
        others = ", ".join(name for name in STRATEGIES if name not in REFERENCES)
        raise InputError(
            "at least one strategy must be searched beside the bounds "
            f"({', '.join(REFERENCES)}, which always run); to search: {others}"
        )
    for name, least in (("samples", plan.samples), ("workers_per_trial", plan.workers_per_trial)):
        if least < 1:
            raise InputError(f"{name} must be at least 1, got {least}")
    if plan.time_budget is not None and not plan.time_budget > 0:
        raise InputError(f"time_budget must be more than 0 seconds, got {plan.time_budget:g}")
    if plan.scoring not in SCORING:
        raise unknown("scoring", plan.scoring, SCORING)
    return searched


def demands_of(
    folder: Path, adapters: Iterable[Adapter], workers: int, zero: Iterable[object]
) -> Demands:
    """What every row must hold for this model, whichever of the adapters is on it.

    With several workers DeepSpeed sums up a connector's gradients, and with ZeRO 3 gathers its weights, in
    the order in which they come: a rank whose examples show no image would leave the others waiting.
    """
    known = list(adapters)
    unlearnt = any(not adapter.language for adapter in known)
    joined = any(adapter.parts not in ("lm_lora", "lm") for adapter in known) or 3 in zero
    apart = workers > 1 and joined
    return Demands(
        image=unlearnt or apart or not folder_family(folder).text_alone,
        reserved=image_token(folder),
        several_images=folder_family(folder).several_images,
    )


def check_batches(space: ConfigSpace, workers: int) -> None:
    """Every batch size and micro-batch that may be proposed must go together."""
    fixed = space.reference("finetune").training

    def values(knob: str) -> Iterable[int]:
        domain = space.open["training"].get(knob)
        if isinstance(domain, IntDistribution):
            return range(domain.low, domain.high + 1, domain.step)
        return domain.choices if domain else (getattr(fixed, knob),)

    for size in values("batch_size"):
        for micro in values("micro_batch"):
            training = dataclasses.replace(fixed, batch_size=size, micro_batch=micro)
            training.accumulation(workers)


def check_training(space: ConfigSpace) -> None:
    """Every combination of knobs that have to go together, and that may be proposed, must."""
    fixed, found = space.reference("finetune").training, space.open["training"]
    names = ("precision", "zero", "offload", "base_bits", "attention")
    choices = [found[n].choices if n in found else (getattr(fixed, n),) for n in names]
    for values in itertools.product(*choices):
        training = dataclasses.replace(fixed, **dict(zip(names, values, strict=True)))
        check_loading(training.loading)
        if training.base_bits == 4 and any(adapter.trains("lm") for adapter in space.adapters()):
            raise InputError(
                "training.base_bits 4 packs the language model, which then cannot be trained itself: got "
                "adapter.parts with lm; lm_lora would do"
            )


def check_objectives(plan: SearchPlan, panel: Panel) -> None:
    """Every objective must be defined for the trials of this panel."""
    for objective in plan.objectives:
        if (name := objective.partition(":")[0]) not in TRIAL_METRICS:
            raise unknown("objective", name, TRIAL_METRICS)
    names = [name for name, _ in plan.directions()]
    shortest = min(len(ordering) for ordering in panel.orderings)
    if "forward_transfer" in names and plan.scoring == "seen":
        raise InputError('the objective forward_transfer needs scoring "next" or "all", got "seen"')
    if shortest < 2 and {"forgetting", "backward_transfer"} & set(names):
        raise InputError(f"forgetting needs orderings of at least 2 tasks, got {shortest}")
