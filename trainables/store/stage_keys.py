"""The keys of all that stages make.

A key holds what has an effect on the stage. Trials that differ in nothing else share the stage.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from types import CodeType, FunctionType

from spaces import knobs_of
from strategies import Composed, StageContext, Strategy, strategy_class
from trainables.config import TrialConfig
from trainables.stage_job import Expert, Fingerprints, in_order
from trainables.store.code_fingerprint import code_fingerprint
from trainables.store.digest import digest

RANK_MODULE = "trainables.rank.worker"
"""The module whose imports are the code of every stage."""
LIBRARIES = ("torch", "transformers", "peft", "deepspeed", "tokenizers", "pillow")


@functools.cache
def rank_code() -> str:
    """Return the fingerprint of the code of every stage: the rank's modules, and libraries."""
    return code_fingerprint([RANK_MODULE], LIBRARIES)


@functools.cache
def acting_code(strategy: type[Strategy]) -> str:
    """Return the fingerprint of a strategy's code: its classes, its parts, and their helpers."""
    return code_fingerprint(sorted({cls.__module__ for cls in _classes(strategy)}))


def strategy_code(name: str) -> str:
    """Return the fingerprint of all code behind a trial of the strategy called `name`."""
    return digest(rank_code(), acting_code(strategy_class(name)))


@functools.cache
def _consolidation_code(strategy: type[Strategy]) -> str:
    """Return the fingerprint of the code of `consolidate`, of the methods and constants that it uses.

    Strategies that inherit these, and keep the same, share it. A property's code does not count, because
    its value is already in the key, through `kept_name` or the knobs.
    """
    modules, constants, pending = dict[str, str](), dict[str, object](), ["consolidate"]
    while pending:
        name = pending.pop()
        member = getattr(strategy, name, None)
        member = getattr(member, "__func__", member)
        if name not in modules and isinstance(member, FunctionType):
            modules[name] = member.__module__
            pending += _names(member.__code__)
        elif isinstance(member, str | int | float) and name not in knobs_of(strategy):
            constants[name] = member
    return digest(code_fingerprint(sorted(set(modules.values()))), constants)


def _names(code: CodeType) -> Iterator[str]:
    """Yield the names that a function uses, those of nested functions too."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _classes(strategy: type[Strategy]) -> list[type]:
    """Return the classes that a strategy is made from; for a composition, those of its parts too."""
    parts = strategy.classes if issubclass(strategy, Composed) else ()
    own = [cls for cls in strategy.__mro__ if issubclass(cls, Strategy)]
    return own + [cls for part in parts for cls in _classes(part)]


def base_key(fingerprints: Fingerprints, config: TrialConfig) -> str:
    """Return the key of the untrained model.

    LoRA starts at zero, so only the options of loading, ZeRO stage and prompt length matter.
    """
    loading = dataclasses.asdict(config.training.loading)
    training = config.training
    return digest("base", *_common_parts(fingerprints), loading, training.zero, training.longest)


def trained_key(
    fingerprints: Fingerprints,
    config: TrialConfig,
    parent: str,
    context: StageContext,
    depth: int,
    kept: Sequence[str] = (),
) -> str:
    """Return the key of a stage's weights.

    `parent`: key of the weights it starts from. `depth`: number of stages that made the weights, this one
    included. `kept`: keys of the old tasks' consolidated tensors.
    """
    effective = config.strategy.effective(context)
    strategy_parts: list[object] = []
    if effective:
        # An old task with its own expert is not among the parent's ancestors, but the strategy still
        # reads its kept tensors.
        old = _names_and_fingerprints(fingerprints, context.old)
        strategy_parts = [_name_and_code(config), effective, old, list(kept)]
        if config.strategy.needs_similarity:
            strategy_parts += [fingerprints.text_encoder, dict(context.similarity)]
    return digest(
        "trained",
        *_common_parts(fingerprints),
        parent,
        _names_and_fingerprints(fingerprints, context.new),
        depth,
        dataclasses.asdict(config.training),
        config.adapter.effective(),
        strategy_parts,
    )


def by_product_key(
    fingerprints: Fingerprints,
    config: TrialConfig,
    trained: str,
    context: StageContext,
    kept: Sequence[str] = (),
) -> str | None:
    """Return the key of the by-products of a stage's training; None if the strategy has none.

    Two strategies may train the same weights and leave different by-products.
    """
    strategy, knobs = config.strategy, config.strategy.consolidation_knobs()
    if knobs is None or not strategy.has_by_products:
        return None
    encoder = fingerprints.text_encoder if strategy.needs_similarity else ""
    old = _names_and_fingerprints(fingerprints, context.old)
    return digest("by-product", trained, _name_and_code(config), knobs, old, list(kept), encoder)


def kept_key(
    fingerprints: Fingerprints,
    config: TrialConfig,
    trained: str,
    task: str,
    by_product: str | None = None,
) -> str | None:
    """Return the key of a task's consolidated tensors after a stage; None if there are none."""
    knobs, strategy = config.strategy.consolidation_knobs(), config.strategy
    if knobs is None:
        return None
    # Strategies that inherit `consolidate`, and keep the same, share it.
    composed = isinstance(strategy, Composed)
    code = acting_code(type(strategy)) if composed else _consolidation_code(type(strategy))
    encoder = fingerprints.text_encoder if strategy.has_experts else ""
    # With no training, the weights' key is the base model's and does not depend on `adapter.parts`; what
    # is kept does.
    adapter = config.adapter.effective()
    data = (task, fingerprints.tasks[task])
    named = (strategy.kept_name, code, knobs, encoder, adapter)
    also = [by_product] if by_product else []
    return digest("kept", trained, *data, *named, *also)


def embedding_key(fingerprints: Fingerprints, config: TrialConfig, task: str) -> str:
    """Return the key of a task embedding, which depends on the loading options of the model."""
    loading = dataclasses.asdict(config.training.loading)
    data = (fingerprints.model, fingerprints.tasks[task], fingerprints.text_encoder)
    return digest("task embedding", *data, loading, rank_code())


def scored_key(fingerprints: Fingerprints, trained: str, task: str, split: str) -> str:
    """Return the key of a stage's score on one split of a task."""
    return digest("scored", trained, fingerprints.tasks[task], split)


def routed_key(
    fingerprints: Fingerprints,
    config: TrialConfig,
    experts: Sequence[Expert],
    task: str,
    split: str,
) -> str:
    """Return the key of a score for which one of several experts answers each example."""
    known = [dataclasses.asdict(expert) for expert in in_order(experts)]
    strategy = config.strategy
    answering = [
        acting_code(type(strategy)),
        strategy.routing_knobs(),
        fingerprints.text_encoder,
    ]
    return digest("routed", known, answering, fingerprints.tasks[task], split)


def general_key(scored: str) -> str:
    """Return the key of a general task's score, which also holds its divergence.

    `scored`: key of the score if the task were none of the general ones. It names the untrained model, too:
    that of every stage descends from it.
    """
    return digest("general", scored)


def _common_parts(fingerprints: Fingerprints) -> list[object]:
    """Return the part of most keys that no trial changes."""
    return [fingerprints.model, fingerprints.seed, fingerprints.workers, rank_code()]


def _names_and_fingerprints(
    fingerprints: Fingerprints, tasks: Sequence[str]
) -> list[tuple[str, str]]:
    """Return tasks by name, which seeds depend on, and contents."""
    return [(task, fingerprints.tasks[task]) for task in tasks]


def _name_and_code(config: TrialConfig) -> dict[str, object]:
    """Return a strategy's name and the fingerprint of its code; both are in each key where it acts."""
    return {"name": config.strategy.name, "code": acting_code(type(config.strategy))}
