"""The strategies, by name: a new one is one file and one name in `STRATEGIES`."""

from __future__ import annotations

from spaces.errors import unknown
from strategies.ewc import EWC
from strategies.finetune import Finetune
from strategies.joint import Joint
from strategies.replay import Replay
from strategies.strategy import Learner, Pick, Strategy, Tensors

STRATEGIES: dict[str, type[Strategy]] = {s.name: s for s in (Finetune, Joint, Replay, EWC)}


def strategy_class(name: str) -> type[Strategy]:
    """The strategy called `name`; raises `InputError` with the nearest name."""
    if name not in STRATEGIES:
        raise unknown("strategy", name, STRATEGIES)
    return STRATEGIES[name]


__all__ = ["STRATEGIES", "Learner", "Pick", "Strategy", "Tensors", "strategy_class"]
