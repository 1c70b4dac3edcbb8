"""Domains of knobs: Optuna's distributions as leaves, one `OneOf` for conditional branches.

Spaces are plain data, so that they can be printed, compared and saved beside the results.
`search/tuning/searcher.py` samples from them with an Optuna trial.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from spaces.errors import InputError, shown, unknown
from spaces.yaml_files import truth

Domain = FloatDistribution | IntDistribution | CategoricalDistribution
Value = int | float | str | bool


@dataclass(frozen=True)
class OneOf:
    """Choice between named branches, each with a space of its own (Optuna: conditional)."""

    branches: Mapping[str, Space]


Space = Mapping[str, "Domain | OneOf | Space"]


class Knob(NamedTuple):
    """Field that may vary: its published default and the values it may take."""

    default: Value
    domain: Domain
    help: str
    searched: bool
    """True if a search varies it by default."""
    off: float | None = None
    """Value outside the domain that switches off the knob's effect; no search proposes it."""

    def allows(self, value: object) -> bool:
        """Return True if the knob may have this value."""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return contains(self.domain, value) or (number and value == self.off)

    def describe(self) -> str:
        """Describe the allowed values in a few words."""
        off = "" if self.off is None else f" or {self.off:g} (off)"
        return describe(self.domain) + off


def knob(
    default: Value, domain: Domain, help: str, searched: bool = True, off: float | None = None
) -> Any:
    """Return a dataclass field that is a knob; raises `InputError` if it does not allow its default.

    The return type is `Any`, as for `dataclasses.field`.
    """
    if not Knob(default, domain, help, searched, off).allows(default):
        raise InputError(f"the default {default!r} lies outside {domain}")
    metadata = {"domain": domain, "help": help, "searched": searched, "off": off}
    return dataclasses.field(default=default, metadata=metadata)


def knobs_of(cls: type) -> dict[str, Knob]:
    """Return the knobs of a dataclass by field name, in the order of declaration."""
    return {
        f.name: Knob(f.default, **f.metadata)  # type: ignore[arg-type]
        for f in dataclasses.fields(cls)
        if "domain" in f.metadata
    }


def contains(domain: Domain, value: object) -> bool:
    """Return True if `domain` allows `value`; an int is a valid value of a float domain."""
    if isinstance(domain, CategoricalDistribution):
        return any(value == c and type(value) is type(c) for c in domain.choices)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if not domain.low <= value <= domain.high:  # NaN is in no domain
        return False
    if isinstance(domain, IntDistribution) and not float(value).is_integer():
        return False
    return _on_grid(domain, value)


def _on_grid(domain: FloatDistribution | IntDistribution, value: float) -> bool:
    """Return True if `value` is a whole number of the domain's steps from its low end."""
    steps = (value - domain.low) / domain.step if domain.step else 0.0
    return abs(steps - round(steps)) < 1e-8


def checked_knobs(cls: type, values: Mapping[str, object], where: str) -> dict[str, Value]:
    """Convert values to their domains' types, so that 1 and 1.0 give the same stage key.

    Raises `InputError` for a name that `cls` has no knob for, or a value outside its domain.
    """
    known = knobs_of(cls)
    values = {
        name: truth(value) if name in known and isinstance(known[name].default, bool) else value
        for name, value in values.items()
    }
    for name, value in values.items():
        if name not in known:
            raise unknown(f"knob of {where}", name, known)
        if not known[name].allows(value):
            raise InputError(
                f"{where}.{name} must lie in {known[name].describe()}, got {shown(value)}"
            )
    return {name: of_its_type(known[name].domain, value) for name, value in values.items()}


def of_its_type(domain: Domain, value: Any) -> Value:
    """Convert a value of the domain to an int or float, as the domain holds them."""
    if isinstance(domain, CategoricalDistribution):
        return value
    return int(value) if isinstance(domain, IntDistribution) else float(value)


def parse_domain(where: str, spec: object, knob: Knob) -> Domain | Value:
    """Parse a domain or fixed value of a plan file: `{low, high, log, step}`, a list, or a scalar."""
    like = knob.domain
    if isinstance(knob.default, bool):
        spec = [truth(one) for one in spec] if isinstance(spec, list) else truth(spec)
    if isinstance(spec, Mapping):
        return _parse_range(where, spec, like)
    if isinstance(spec, list):
        bad = [v for v in spec if not knob.allows(v)]
        if not spec or bad:
            raise InputError(
                f"{where}: choices must lie in {knob.describe()}, got {shown(bad or spec)}"
            )
        values = [of_its_type(like, v) for v in spec]
        if len(set(values)) < len(values):
            raise InputError(f"{where}: choices must differ, got {shown(spec)}")
        return CategoricalDistribution(values)
    if not knob.allows(spec):
        raise InputError(f"{where} must lie in {knob.describe()}, got {shown(spec)}")
    return of_its_type(like, spec)


def _parse_range(where: str, spec: Mapping[str, Any], like: Domain) -> Domain:
    if isinstance(like, CategoricalDistribution):
        raise InputError(
            f"{where} has the choices {list(like.choices)}: give a list of some of them"
        )
    for key in spec:
        if key not in ("low", "high", "log", "step"):
            raise unknown(f"key of the domain {where}", key, ("low", "high", "log", "step"))
    low, high = spec.get("low", like.low), spec.get("high", like.high)
    for name, value in (("low", low), ("high", high)):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"{where}: {name} must be a number, got {shown(value)}")
    for name, value in (("low", low), ("high", high)):
        if not contains(like, value):
            raise InputError(f"{where}: {name} must lie in {describe(like)}, got {shown(value)}")
    if low >= high:
        raise InputError(
            f"{where}: low must be less than high, got {low=}, {high=}; for a fixed value give it alone"
        )
    log, step = _grid(where, spec, like)
    steps = (high - low) / step if step else 1
    if steps < 1:
        raise InputError(f"{where}: step must be at most high - low, got {step=}, {low=}, {high=}")
    if abs(steps - round(steps)) > 1e-8 * steps:
        raise InputError(
            f"{where}: high must be low plus a whole number of steps, got {step=}, {low=}, {high=}; "
            f"high {low + int(steps) * (step or 0):g} would do"
        )
    try:
        if isinstance(like, IntDistribution):
            return IntDistribution(int(low), int(high), log=log, step=int(step or 1))
        return FloatDistribution(float(low), float(high), log=log, step=step)
    except ValueError as error:  # e.g. log together with step, or log from low <= 0
        raise InputError(f"{where}: {error}") from error


def _grid(
    where: str, spec: Mapping[str, Any], like: FloatDistribution | IntDistribution
) -> tuple[bool, float | None]:
    """Parse `log` and `step` of a range."""
    log, step = truth(spec.get("log", like.log)), spec.get("step")
    if not isinstance(log, bool):
        raise InputError(f"{where}: log must be true or false, got {shown(log)}")
    if step is None:
        return log, None
    if isinstance(step, bool) or not isinstance(step, int | float) or not step > 0:
        raise InputError(f"{where}: step must be more than 0, got {shown(step)}")
    if isinstance(like, IntDistribution) and not float(step).is_integer():
        raise InputError(f"{where}: step must be a whole number, got {step!r}")
    return log, step


def describe(domain: Domain) -> str:
    """Describe a domain in a few words, for plans and messages."""
    if isinstance(domain, CategoricalDistribution):
        return "{" + ", ".join(str(c) for c in domain.choices) + "}"
    log = ", log" if domain.log else ""
    return f"[{domain.low:g}, {domain.high:g}{log}]"
