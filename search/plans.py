"""Named searches: functions that return a `SearchPlan`, derived from one another or from a YAML file."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from models.location import embedded_names
from search.front import direction
from spaces.errors import InputError, unknown

STOPPING = {
    "asha": "successive halving: the best part of those at a rung goes on, rungs are stages",
    "median": "below the median of the others at the same stage, a trial ends",
    "racing": "after each ordering but the first, a trial that is surely behind the leader ends",
    "none": "every trial walks the whole panel",
}


KEPT = {
    "auto": "on disk if it is more than a worker keeps in memory",
    "disk": "in memory-mapped files, made once before the lanes start, for all workers and searches",
    "memory": "in each worker's memory, as far as it goes: each looks for itself",
}


@dataclass(frozen=True)
class SearchPlan:
    """Space, benchmark, panel, model, budget and objectives of one search."""

    plan: str
    benchmark: str = "mini"
    model: str = "llava-aligned"
    """An embedded model or a folder; empty = the user's to name."""
    data: str = ""
    """The folder of a preset's data; empty = what CITUNE_DATA names."""
    tasks: tuple[str, ...] = ()
    """The tasks learned; empty = the benchmark's own order."""
    orderings: str = "given"
    """The panel, as `tasks.parse_orderings` reads it."""
    initial: str = "trained"
    """The benchmark's initial tasks: "trained" jointly before the first stage, "known" to the model, which
    has learned them already, or "none" to leave them out."""
    strategies: tuple[str, ...] = ("replay", "ewc")
    samples: int = 12
    """Configurations proposed by the search, beside the reference trials."""
    balanced: bool = False
    """Whether every strategy gets the same number of samples, rather than the promising ones more."""
    objectives: tuple[str, ...] = ("final_average", "forgetting")
    """Metrics, each with `:max` or `:min` where that is not known; the first one chooses the best."""
    scoring: str = "seen"
    training: Mapping[str, Any] = field(default_factory=dict)
    adapter: Mapping[str, Any] = field(default_factory=dict)
    text_encoder: str = ""
    """The folder of a sentence encoder for the similarity of tasks; empty = the language model's own
    token embeddings."""
    space: Mapping[str, Any] = field(default_factory=dict)
    """Domains by knob: `replay.ratio`, `adapter.rank`; a shared knob is searched if it is here."""
    stopping: str = "asha"
    """How weak trials die early, by `STOPPING`."""
    halving: int = 2
    """Reduction factor of "asha"; 0 = none is stopped."""
    concurrent: int | None = None
    """Trials at once; None = as many lanes as there are devices."""
    workers_per_trial: int = 1
    gpus_per_worker: float | None = None
    """Share of a GPU; None = lanes of one worker share a GPU as far as its memory goes."""
    seed: int = 0
    time_budget: float | None = None
    """Seconds; None = until the samples are done."""
    features: str = "auto"
    """Where what the frozen vision tower sees of each image is kept, by `KEPT`."""
    store_limit: float | None = None
    """GB of stages kept in the storage; None = all of them."""

    def directions(self) -> list[tuple[str, str]]:
        """The objectives as (metric, "max" or "min")."""
        pairs = []
        for objective in self.objectives:
            name, _, given = objective.partition(":")
            if given not in ("", "max", "min"):
                raise InputError(f'an objective must end in ":max" or ":min", got "{objective}"')
            pairs.append((name, given or direction(name)))
        names = [name for name, _ in pairs]
        if not names or len(set(names)) != len(names):
            raise InputError(
                "objectives must be one metric or more that differ, got "
                + (", ".join(names) or "none")
            )
        return pairs


SMALL = {"precision": "fp32", "checkpointing": False}
"""What saves memory is not for the embedded models."""
MINI_TRAINING = {"epochs": 2, "learning_rate": 4e-3, "batch_size": 8, **SMALL}
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
STEEP = {
    **{f"{name}.strength": {"low": 1e2, "high": 1e5} for name in ("ewc", "mas", "tir")},
    "lwf.strength": {"low": 0.03, "high": 3.0},
}
"""Where those learning rates are held back at all, and not altogether."""
EVERY = ("replay", "der", "a_gem", "ewc", "mas", "lwf", "tir", "eproj")


def mini_1() -> SearchPlan:
    """As the first benchmark of He et al. 2023: five tasks, a start that has seen captions alone."""
    return dataclasses.replace(
        default(),
        plan="mini_1",
        model="llava-aligned",
        tasks=("emoji_caption", "sign_meaning", "animal", "word", "flag_continent"),
        orderings="given+reverse",
        strategies=EVERY,
        samples=5 * len(EVERY),
        balanced=True,
        # With forgetting beside it, a proposal that learns nothing, and forgets nothing, is a good one.
        objectives=("final_average",),
        stopping="none",
        training=CONNECTOR_TRAINING,
        adapter={"parts": "connector"},
        space={**MINI_SPACE, **STEEP},
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


def named_plan(name: str, extended: tuple[Path, ...] = ()) -> SearchPlan:
    """A plan of this file by name, or one from a YAML file by path, which others may extend."""
    if name.endswith((".yaml", ".yml")):
        return read_plan(Path(name), extended)
    if name not in PLANS:
        raise unknown("plan", name, PLANS)
    return PLANS[name]()


def read_plan(path: Path, extended: tuple[Path, ...] = ()) -> SearchPlan:
    """A plan file: `extends:` a named plan, and any field of `SearchPlan` instead of its own.

    Paths in it are relative to its folder.
    """
    path = path.expanduser().resolve()
    if path in extended:
        raise InputError(f'a plan must not extend itself; "{path}" does')
    if not path.is_file():
        raise InputError(f'the plan must be one of {", ".join(PLANS)} or a YAML file; no "{path}"')
    try:
        values = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f'"{path}" must be YAML: {error}') from error
    if not isinstance(values, dict):
        raise InputError(f'"{path}" must be a mapping of plan fields, got {type(values).__name__}')
    values = {name: _beside(path, name, _numbers(value)) for name, value in values.items()}
    base = named_plan(str(values.pop("extends", "default")), (*extended, path))
    return amended(dataclasses.replace(base, plan=path.stem), values, str(path))


def _numbers(value: Any) -> Any:
    """YAML takes 2e-4 for a text; here it is a number, as everywhere else."""
    if isinstance(value, dict):
        return {name: _numbers(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_numbers(part) for part in value]
    exponent = isinstance(value, str) and re.fullmatch(r"[-+]?\d+\.?\d*[eE][-+]?\d+", value)
    return float(value) if exponent else value


def _beside(path: Path, name: str, value: Any) -> Any:
    """A path in a plan file, if it names something beside that file."""
    if name not in ("extends", "model", "benchmark", "data", "text_encoder") or not isinstance(
        value, str
    ):
        return value
    return str(path.parent / value) if (path.parent / value).exists() else value


def amended(plan: SearchPlan, values: Mapping[str, Any], where: str) -> SearchPlan:
    """The plan with some fields replaced; raises `InputError` for no field or a wrong type."""
    kinds = {f.name: type(getattr(plan, f.name)) for f in dataclasses.fields(plan)}
    optional: dict[str, type] = {"concurrent": int, "gpus_per_worker": float}
    optional |= {"time_budget": float, "store_limit": float}
    new: dict[str, Any] = {}
    for name, value in values.items():
        if name not in kinds or name == "plan":
            raise unknown(f"field in {where}", name, set(kinds) - {"plan"})
        new[name] = _typed(f"{where}: {name}", value, optional.get(name, kinds[name]))
    return dataclasses.replace(plan, **_left_behind(plan, new), **new)


def _left_behind(plan: SearchPlan, new: Mapping[str, Any]) -> dict[str, Any]:
    """What a plan for an embedded model or benchmark says of it alone, where another takes its place."""
    gone: dict[str, Any] = {}
    if new.get("benchmark", plan.benchmark) != plan.benchmark:
        # The order and its reverse are what any number of tasks has.
        gone |= {"tasks": (), "orderings": "given+reverse", "initial": SearchPlan.initial}
    embedded = embedded_names()
    if plan.model in embedded and new.get("model", plan.model) not in embedded:
        gone |= {"training": {}, "adapter": {}, "space": {}}
    return {name: value for name, value in gone.items() if name not in new}


def _typed(where: str, value: Any, kind: type) -> Any:
    if kind is tuple and isinstance(value, list) and all(isinstance(v, str) for v in value):
        return tuple(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    mapping = issubclass(kind, Mapping) and isinstance(value, Mapping)
    if mapping or (isinstance(value, kind) and (kind is bool or not isinstance(value, bool))):
        return value
    words = {tuple: "list of names", int: "whole number", float: "number", str: "text"}
    words |= {bool: "truth value (true, false)"}
    wanted = words.get(kind, "mapping")
    raise InputError(f"{where} must be a {wanted}, got {value!r}")
