"""Every strategy, and some compositions, with knobs that do something on the toy; and with none that do."""

from __future__ import annotations

from typing import Any

from toy import config

from spaces import knobs_of
from strategies import STRATEGIES, strategy_class
from trainables.config import TrialConfig

COMPOSED = ("replay+ewc", "replay+eproj", "replay+lwf", "replay+tir")
NAMES = (*STRATEGIES, *COMPOSED)
LIVELY: dict[str, dict[str, Any]] = {
    **{"replay": {"ratio": 0.3}, "der": {"ratio": 0.3}, "a_gem": {"ratio": 0.3}},
    **{"eproj": {"expert": "trained", "learning_rate": 0, "key_steps": 50, "key_rate": 0.05}},
    **{name: {"importance_batch": 12} for name in ("ewc", "mas", "tir")},
}
"""Knobs whose defaults do nothing on as few examples as the toy has, or take long."""
PROJECTION = {"eproj_expert": "projection", "eproj_learning_rate": 0.02}
ONE_EXPERT = {"threshold": 0, "expert": "trained", "learning_rate": 0}
OFF: dict[str, list[dict[str, Any]]] = {
    **{name: [{"strength": 0}] for name in ("ewc", "mas", "tir", "lwf")},
    **{name: [{"ratio": 0}] for name in ("der", "a_gem")},
    "replay": [
        {"ratio": 0},
        {"variant": "share", "ratio": 0},
        {"variant": "share", "share": 0},
        {"variant": "count", "count": 0},
    ],
    "eproj": [ONE_EXPERT],
}
"""Knobs with which a strategy is finetune; one expert for all tasks is trained as the model is."""


def of_parts(name: str, knobs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The knobs of a composition's parts by their names in it; of a strategy alone as they are."""
    if name not in COMPOSED:
        return knobs.get(name, {})
    return {f"{p}_{k}": v for p in name.split("+") for k, v in knobs.get(p, {}).items()}


def lively(name: str, **training) -> TrialConfig:
    """A strategy that does something."""
    own = PROJECTION if name == "replay+eproj" else {}
    return config({"name": name, **of_parts(name, LIVELY), **own}, **training)


def off_values(name: str) -> list[dict[str, Any]]:
    """Of a strategy that is not in `OFF`: all its knobs that can be switched off are."""
    known = {k: knob.off for k, knob in knobs_of(strategy_class(name)).items()}
    return [{k: off for k, off in known.items() if off is not None}]


def switched_off(name: str) -> list[TrialConfig]:
    """A strategy that does nothing, in all ways there are; they go through the loop quickly."""
    ways = OFF.get(name) or off_values(name)
    if name in COMPOSED:
        ways = [of_parts(name, {part: way[0] for part, way in OFF.items()})]
    made = [{**of_parts(name, LIVELY), **way} for way in ways]
    return [config({"name": name, **knobs}, epochs=1) for knobs in made]
