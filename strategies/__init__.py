"""Strategies by name: a new one is one file and one name in `STRATEGIES`."""

from __future__ import annotations

from spaces.errors import unknown
from strategies.a_gem import AGEM
from strategies.composed import PLUS, Composed, compose
from strategies.der import DER
from strategies.eproj import EProj
from strategies.ewc import EWC
from strategies.finetune import Finetune
from strategies.joint import Joint
from strategies.lwf import LwF
from strategies.mas import MAS
from strategies.outputs import Outputs
from strategies.replay import Replay
from strategies.strategy import (
    ExampleId,
    Learner,
    Queries,
    StageContext,
    StartFrom,
    Strategy,
    Tensors,
)
from strategies.tir import TIR

STRATEGIES: dict[str, type[Strategy]] = {
    s.name: s for s in (Finetune, Joint, Replay, DER, AGEM, EWC, MAS, LwF, TIR, EProj)
}


def strategy_class(name: str) -> type[Strategy]:
    """Return the strategy called `name`, or the composition of several joined by `+`.

    A composition has its parts in the order of `STRATEGIES`. Raises `InputError` with the nearest name.
    """
    if PLUS in name:
        parts = [strategy_class(part.strip()) for part in name.split(PLUS)]
        return compose(*sorted(parts, key=lambda cls: list(STRATEGIES).index(cls.name)))
    if name not in STRATEGIES:
        raise unknown("strategy", name, STRATEGIES)
    return STRATEGIES[name]


__all__ = [
    "PLUS",
    "STRATEGIES",
    "Composed",
    "ExampleId",
    "Finetune",
    "Learner",
    "Outputs",
    "Queries",
    "StageContext",
    "StartFrom",
    "Strategy",
    "Tensors",
    "compose",
    "strategy_class",
]
