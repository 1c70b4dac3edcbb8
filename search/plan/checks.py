"""Checks of a search plan, beyond those that its knobs and files do themselves."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from optuna.distributions import CategoricalDistribution, IntDistribution

from models.location import folder_family, image_token
from search.plan.bounds import check_number, check_numbers
from search.plan.preferences import PREFERENCES
from search.plan.search_plan import FEATURE_CACHES, STOPPING, SearchPlan
from search.plan.space import PARTS, ConfigSpace
from spaces import Adapter, InputError, unknown
from spaces.errors import shown
from spaces.loading import check_loading
from spaces.references import FLOOR, REFERENCES
from spaces.secrets import secret_places
from spaces.storage import try_folder
from strategies import PLUS, STRATEGIES, Strategy, strategy_class
from tasks import Benchmark, RowRequirements
from trainables.panel import INITIAL_STATES, SCORING

STAGES = "stages"
"""Folder of the stage store in the storage, beside the searches."""
DATA = "data"
"""Folder of converted data in the storage."""
FEATURES = "features"
"""Folder of cached vision features in the storage."""
NO_TASKS = "none"
"""Value that leaves out a benchmark's initial or general tasks."""
RESERVED = (STAGES, DATA, FEATURES)
"""Names that no search may have."""


def check_run_folder(name: str | None, storage: Path) -> None:
    """Raise `InputError` unless a search's folder can have this name and be written in the storage."""
    if name is not None and (name in RESERVED or not re.fullmatch(r"[\w][\w.-]{0,99}", name)):
        raise InputError(
            f'--name must be at most 100 letters, digits, "_", "-" and ".", and none of '
            f"{', '.join(RESERVED)}, got {shown(name)}"
        )
    if "://" in str(storage) or ":/" in str(storage):
        raise InputError(f'--storage must be a folder that all nodes see, got "{storage}"')
    for folder in (storage, *([storage / name] if name and (storage / name).exists() else ())):
        if why := try_folder(folder):
            raise InputError(
                f'--storage must be a folder that can be written, got "{folder}": {why}'
            )


def check_no_secrets(plan: SearchPlan) -> None:
    """Raise `InputError` for an address with a password or token: plan and reports are kept and shared."""
    for place in secret_places(dataclasses.asdict(plan)):
        raise InputError(
            f"{place} must be no address with a password or a token, for plan.json, best.yaml and the "
            "report keep it: give those in the environment, or by the login of the tool that reads it "
            "(HF_TOKEN, ~/.netrc), and the address without them"
        )


def check_model_named(plan: SearchPlan) -> None:
    """Raise `InputError` if neither the plan nor the user names a model."""
    if not plan.model:
        raise InputError(
            f'the plan "{plan.plan}" leaves the model to you: give --model, or model: in a plan file, '
            "with a folder that from_pretrained reads"
        )


def searched_strategies(plan: SearchPlan) -> tuple[str, ...]:
    """Return the strategies to search, without the references; raises `InputError` if none is left."""
    named = [strategy_class(name).name for name in plan.strategies]
    searched = tuple(dict.fromkeys(name for name in named if name not in REFERENCES))
    if not searched:
        others = ", ".join(name for name in STRATEGIES if name not in REFERENCES)
        raise InputError(
            "at least one strategy must be searched beside the references "
            f"({', '.join(REFERENCES)}, which always run); to search: {others}, and several joined by "
            f"{PLUS}, such as replay{PLUS}ewc"
        )
    return searched


def check_budget(plan: SearchPlan) -> None:
    """Raise `InputError` for samples, workers, time, storage or a share of a GPU that cannot be."""
    check_share(plan.gpus_per_worker, plan.workers_per_trial)
    check_numbers(plan)


def check_settings(plan: SearchPlan) -> None:
    """Raise `InputError` for a wrong cache of features, scoring schedule, preference or stopping rule."""
    if plan.features not in FEATURE_CACHES:
        raise unknown("features", plan.features, FEATURE_CACHES)
    if plan.scoring not in SCORING:
        raise unknown("scoring", plan.scoring, SCORING)
    if plan.stopping not in STOPPING:
        raise unknown("stopping", plan.stopping, STOPPING)
    if plan.prefer not in PREFERENCES:
        raise unknown("prefer", plan.prefer, PREFERENCES)
    check_number("halving", plan.halving)


def check_store_limit(limit: float | None) -> None:
    """Raise `InputError` unless the size limit is positive."""
    check_number("store_limit", limit, "--store-limit")


def check_share(share: float | None, workers: int) -> None:
    """Raise `InputError` for a share of a GPU that no lane can be given."""
    if share is None:
        return
    if not 0 < share <= 1:
        raise InputError(
            f"--gpus-per-worker must be more than 0 and at most 1, got {share:g}; a lane of several GPUs "
            "has several --workers-per-trial"
        )
    if share < 1 and workers > 1:
        raise InputError(
            f"workers of one lane cannot share a GPU (NCCL): got --gpus-per-worker {share:g} with "
            f"--workers-per-trial {workers}; either of them must be 1"
        )


def row_requirements(
    folder: Path, adapters: Mapping[str, Iterable[Adapter]], workers: int, zero: Iterable[object]
) -> RowRequirements:
    """Return the requirements on every row, whichever of the adapters the model has.

    `adapters` are given by who proposes them: `adapter.parts`, or a strategy that has its own.
    """
    family = folder_family(folder)
    return RowRequirements(
        tokens=False,
        image=_who_needs_images(adapters, workers, zero) if family.text_alone else "the model",
        reserved=image_token(folder),
        several_images=family.several_images,
    )


def _who_needs_images(
    adapters: Mapping[str, Iterable[Adapter]], workers: int, zero: Iterable[object]
) -> str:
    """Return who needs an image with every row, and what would do without; empty if nobody does.

    With several workers, DeepSpeed reduces the connector's gradients in their order of arrival, and with
    ZeRO 3 gathers its weights likewise. A rank whose examples have no image would block the others.
    """
    adapters = {user: list(own) for user, own in adapters.items()}
    alone = [user for user, own in adapters.items() if not all(a.language for a in own)]
    if PARTS in alone:
        return f"{PARTS} without the language model (lm_lora would do)"
    found = []
    if alone:
        which = "them" if alone[1:] else "it"
        found.append(f"{' and '.join(alone)} (--strategies without {which} would do)")
    others = [a for user, own in adapters.items() if user not in alone for a in own]
    if workers > 1 and (3 in zero or any(a.parts not in ("lm_lora", "lm") for a in others)):
        found.append("the connector on several workers (one would do, or lm_lora without ZeRO 3)")
    return " and by ".join(found)


def check_batches(space: ConfigSpace, workers: int) -> None:
    """Raise `InputError` if a proposed batch size does not go with a proposed micro-batch."""
    fixed = space.reference(FLOOR).training

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
    """Raise `InputError` if training knobs may be proposed in a combination that is not allowed."""
    fixed, opened = space.reference(FLOOR).training, space.open["training"]
    names = ("precision", "zero", "offload", "base_bits", "attention")
    choices = [opened[n].choices if n in opened else (getattr(fixed, n),) for n in names]
    for values in itertools.product(*choices):
        training = dataclasses.replace(fixed, **dict(zip(names, values, strict=True)))
        check_loading(training.loading)
        if training.base_bits == 4 and any(adapter.trains("lm") for adapter in space.adapters()):
            raise InputError(
                "training.base_bits 4 packs the language model, which then cannot be trained itself: got "
                "adapter.parts with lm; lm_lora would do"
            )


def check_experts(space: ConfigSpace) -> None:
    """Raise `InputError` if a proposed configuration of several experts cannot route examples to them."""
    for name, branch in space.open["strategy"].branches.items():
        config = space.reference(name)
        choices = {
            k: d.choices for k, d in branch.items() if isinstance(d, CategoricalDistribution)
        }
        for values in itertools.product(*choices.values()):
            strategy = dataclasses.replace(
                config.strategy, **dict(zip(choices, values, strict=True))
            )
            for adapter in space.shared_adapters():
                check_routed(strategy, strategy.override_shared(config.training, adapter)[1])


def check_routed(strategy: Strategy, adapter: Adapter) -> None:
    """Raise `InputError` for experts in the vision tower: its frozen features route the examples."""
    if strategy.has_experts and adapter.trains("vision_lora"):
        raise InputError(
            f"{strategy.name} needs a vision tower that is not trained, got adapter.parts "
            f'"{adapter.parts}"; as experts, the projection alone would do'
        )


def general_tasks(
    plan: SearchPlan, benchmark: Benchmark, tasks: Sequence[str], initial: Sequence[str]
) -> tuple[str, ...]:
    """Return the tasks that are scored and never trained; raises `InputError` if one is learned."""
    if plan.general == (NO_TASKS,):
        return ()
    general = plan.general or benchmark.general
    for task in general:
        benchmark.task(task)  # raises for an unknown task
    if len(set(general)) != len(general):
        raise InputError(f"general tasks must differ, got {', '.join(general)}")
    for learned, names, remedy in (
        ("tasks", tasks, f"--tasks {','.join(t for t in tasks if t not in general)}"),
        ("initial tasks", initial, "--initial none"),
    ):
        if both := [task for task in general if task in names]:
            would = f"; {remedy} would do" if set(names) - set(both) or names is initial else ""
            raise InputError(
                f"general tasks are never trained, got {', '.join(both)} among the {learned}{would}, and "
                f"--general {NO_TASKS} leaves them out"
            )
    return general


def initial_tasks(plan: SearchPlan, benchmark: Benchmark, tasks: Sequence[str]) -> tuple[str, ...]:
    """Return the tasks learned before the orderings; raises `InputError` if `tasks` repeats one."""
    if plan.initial not in (*INITIAL_STATES, NO_TASKS):
        raise unknown("initial", plan.initial, (*INITIAL_STATES, NO_TASKS))
    initial = () if plan.initial == NO_TASKS else benchmark.initial
    repeated = [task for task in tasks if task in initial]
    if repeated:
        raise InputError(
            f"initial tasks are not learned again, got {', '.join(repeated)} among the tasks; initial none "
            "would leave them out before"
        )
    return initial
