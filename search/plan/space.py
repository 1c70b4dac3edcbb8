"""The space of a plan: training x adapter x OneOf(strategies), and its starting points."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import CategoricalDistribution, IntDistribution

from spaces import Adapter, Domain, InputError, OneOf, Training, knobs_of, unknown
from spaces.domains import Value, contains, parse_domain
from spaces.references import FLOOR
from strategies import Composed, Strategy, strategy_class
from trainables.config import TrialConfig

SHARED: dict[str, type] = {"training": Training, "adapter": Adapter}
PARTS = "adapter.parts"
"""Knob that chooses the parts of the model that are trained."""
Space = dict[str, Any]
"""{"strategy": OneOf(name -> {knob: Domain}), "training": {knob: Domain}, "adapter": ...}"""


@dataclass(frozen=True)
class ConfigSpace:
    """Domains of the knobs that a search varies, and values of those that it does not."""

    open: Space
    fixed: dict[str, dict[str, Value]]
    """Values by part: "training", "adapter", and one for each strategy."""

    def config(self, sampled: Mapping[str, Any]) -> TrialConfig:
        """Return the typed configuration of a sampled point, `{"strategy": {"name", name: {...}}, ...}`."""
        name = sampled["strategy"]["name"]
        knobs = {**self.fixed.get(name, {}), **sampled["strategy"].get(name, {})}
        shared = {part: {**self.fixed[part], **sampled.get(part, {})} for part in SHARED}
        return TrialConfig.from_dict({"strategy": {"name": name, **knobs}, **shared})

    def reference(self, strategy: str) -> TrialConfig:
        """Return a strategy with its published knobs under the plan's fixed values."""
        return self.config({"strategy": {"name": strategy}})

    def shared_adapters(self) -> list[Adapter]:
        """Return the adapters that may be proposed, one for each choice of the trained parts."""
        fixed, domain = self.reference(FLOOR).adapter, self.open["adapter"].get("parts")
        parts = domain.choices if isinstance(domain, CategoricalDistribution) else ()
        return [fixed, *(dataclasses.replace(fixed, parts=str(p)) for p in parts)]

    def adapters_by_user(self) -> dict[str, list[Adapter]]:
        """Return the adapters that may be proposed: those of `PARTS`, and each strategy's."""
        training, shared = self.reference(FLOOR).training, self.shared_adapters()
        found = {PARTS: shared}
        for name in self.open["strategy"].branches:
            strategy = self.reference(name).strategy
            found[name] = [strategy.override_shared(training, adapter)[1] for adapter in shared]
        return found

    def adapters(self) -> list[Adapter]:
        """Return the adapters that may be proposed, with those that strategies turn them into."""
        return list(dict.fromkeys(itertools.chain(*self.adapters_by_user().values())))

    def values(self, part: str, knob: str) -> tuple[object, ...]:
        """Return the values that a categorical knob may have."""
        domain = self.open[part].get(knob)
        fixed = getattr(getattr(self.reference(FLOOR), part), knob)
        return domain.choices if isinstance(domain, CategoricalDistribution) else (fixed,)

    def largest(self) -> list[tuple[Adapter, Training]]:
        """Return the configuration that needs most memory, for each choice of the trained parts."""
        fixed = self.reference(FLOOR)
        rank = _highest(fixed.adapter.rank, self.open["adapter"].get("rank"))
        batch = {
            knob: _highest(getattr(fixed.training, knob), self.open["training"].get(knob))
            for knob in ("batch_size", "micro_batch")
        }
        training = dataclasses.replace(fixed.training, **batch)
        return [(dataclasses.replace(a, rank=rank), training) for a in self.adapters()]

    def flat_point(self, config: Mapping[str, Mapping[str, Any]]) -> dict[str, Value]:
        """Return the point under flat names from which `config` would make a configuration."""
        name = config["strategy"]["name"]
        branch = self.open["strategy"].branches[name]
        point: dict[str, Value] = {"strategy/name": name}
        point |= {f"strategy/{name}/{knob}": config["strategy"][knob] for knob in branch}
        return point | {
            f"{part}/{knob}": config[part][knob] for part in SHARED for knob in self.open[part]
        }

    def starting_points(self) -> list[dict[str, Value]]:
        """Return each strategy's published defaults under flat names; the search begins with them."""
        points = []
        for name, branch in self.open["strategy"].branches.items():
            point: dict[str, Value] = {"strategy/name": name}
            for knob, domain in branch.items():
                default = knobs_of(strategy_class(name))[knob].default
                point[f"strategy/{name}/{knob}"] = _nearest(domain, default)
            for part, cls in SHARED.items():
                for knob, domain in self.open[part].items():
                    value = self.fixed[part].get(knob, knobs_of(cls)[knob].default)
                    point[f"{part}/{knob}"] = _nearest(domain, value)
            points.append(point)
        return points


def config_space(
    strategies: Sequence[str],
    fixed: Mapping[str, Mapping[str, Any]],
    domains: Mapping[str, Any],
) -> ConfigSpace:
    """Return the space of `strategies` with their own domains, changed and widened by `domains`.

    A strategy's knob is searched as it declares, a shared one only if `domains` names it; a single
    value there fixes a knob. A domain of a strategy (`replay.ratio`) also holds in compositions with
    it, unless one is given for the composition (`replay+ewc.replay_ratio`).
    """
    classes: dict[str, type[Strategy]] = {name: strategy_class(name) for name in strategies}
    opened: Space = {"training": {}, "adapter": {}}
    branches = {
        n: {k: v.domain for k, v in knobs_of(c).items() if v.searched} for n, c in classes.items()
    }
    values: dict[str, dict[str, Value]] = {n: {} for n in (*SHARED, *classes)}
    for part in SHARED:
        values[part].update(fixed.get(part, {}))
    for name, part, knob in _placed(domains, classes):
        known = knobs_of(SHARED[part] if part in SHARED else classes[part])
        domain = parse_domain(name, domains[name], known[knob])
        space = opened[part] if part in SHARED else branches[part]
        if isinstance(domain, Domain):
            space[knob] = domain
        else:
            space.pop(knob, None)
            values[part][knob] = domain
    opened["strategy"] = OneOf(branches)
    space = ConfigSpace(opened, values)
    for name in strategies:
        space.reference(name)  # a mistake in a fixed value stops here
    return space


def _placed(
    domains: Mapping[str, Any], classes: Mapping[str, type[Strategy]]
) -> list[tuple[str, str, str]]:
    """Return (name, part, knob) of each named domain, compositions first.

    Domains of strategies that are not searched are omitted. Raises `InputError` for an unknown knob.
    """
    placed: list[tuple[str, str, str]] = []
    for name in map(str, domains):
        part, dot, knob = name.partition(".")
        if not dot:
            raise InputError(
                f'a domain must be named "part.knob", such as replay.ratio; got "{name}"'
            )
        cls = SHARED.get(part) or strategy_class(part)
        part = getattr(cls, "name", part)  # a composition's canonical name, however it was written
        if knob not in knobs_of(cls):
            raise unknown(f"knob of {part}", knob, knobs_of(cls))
        if part in SHARED or part in classes:
            placed.append((name, part, knob))
        composed = {n: c for n, c in classes.items() if issubclass(c, Composed)}
        placed[:0] = [
            (name, n, f"{part}_{knob}")
            for n, c in composed.items()
            if any(cls.name == part for cls in c.classes)
        ]
    return placed


def _highest(value: int, domain: Domain | None) -> int:
    """Return the largest value of a knob that may be proposed."""
    if isinstance(domain, CategoricalDistribution):
        return max(int(choice) for choice in domain.choices)  # type: ignore[arg-type]
    return int(domain.high) if domain else value


def _nearest(domain: Domain, value: Value) -> Value:
    """Return the value if the domain allows it, else the nearest allowed one, or the first choice."""
    if contains(domain, value):
        return value
    if isinstance(domain, CategoricalDistribution):
        return domain.choices[0]  # type: ignore[return-value]
    inside = min(max(float(value), domain.low), domain.high)
    if domain.step:
        inside = domain.low + round((inside - domain.low) / domain.step) * domain.step
    return int(inside) if isinstance(domain, IntDistribution) else inside
