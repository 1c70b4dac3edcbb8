"""The typed form of one trial, to and from a plain dict."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spaces.adapter import Adapter
from spaces.domains import checked_knobs
from spaces.errors import InputError, shown, unknown
from spaces.training import Training
from strategies import Strategy, strategy_class


@dataclass(frozen=True)
class TrialConfig:
    """One configuration: a strategy with its knobs, and the shared knobs as this strategy uses them."""

    strategy: Strategy
    training: Training
    adapter: Adapter

    @property
    def shared(self) -> tuple[Training, Adapter]:
        """The knobs that all strategies share: those that agree in them train a first stage alike."""
        return self.training, self.adapter

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON or YAML, which `from_dict` reads."""
        return {
            "strategy": {"name": self.strategy.name, **self.strategy.knobs()},
            "training": dataclasses.asdict(self.training),
            "adapter": dataclasses.asdict(self.adapter),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrialConfig:
        """Make a configuration; missing knobs take their defaults. Raises `InputError` for unknown ones."""
        for key in values:
            if key not in ("strategy", "training", "adapter"):
                raise unknown("part of a configuration", key, ("strategy", "training", "adapter"))
        strategy: Any = values.get("strategy")
        if not isinstance(strategy, Mapping) or "name" not in strategy:
            raise InputError(f"a configuration must name its strategy, got {shown(strategy)}")
        if not isinstance(strategy["name"], str):
            raise InputError(f"a strategy's name must be a text, got {shown(strategy['name'])}")
        knobs = {k: v for k, v in strategy.items() if k != "name"}
        chosen = strategy_class(strategy["name"])
        one = chosen(**checked_knobs(chosen, knobs, chosen.name))
        training, adapter = one.override_shared(
            _shared(Training, values.get("training", {}), "training"),
            _shared(Adapter, values.get("adapter", {}), "adapter"),
        )
        return cls(strategy=one, training=training, adapter=adapter)

    def fresh_strategy(self) -> Strategy:
        """Return a strategy with the same knobs and no stage's state."""
        return type(self.strategy)(**self.strategy.knobs())


def _shared(cls: type[Any], values: object, where: str) -> Any:
    if not isinstance(values, Mapping):
        raise InputError(f"{where} must be a mapping of knobs to values, got {shown(values)}")
    return cls(**checked_knobs(cls, values, where))
