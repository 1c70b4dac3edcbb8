"""Bounds of the numbers of a plan, and the types of its fields: the one place that holds them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from search.plan.search_plan import SearchPlan
from spaces.command_line import read_duration
from spaces.errors import InputError, shown
from spaces.paths import check_path
from spaces.yaml_files import truth

PATHS = ("model", "benchmark", "data", "text_encoder")
"""Fields that may name a file or folder."""


@dataclass(frozen=True)
class Bounds:
    """Least and largest value of a number, and the reason or unit that a message gives."""

    low: float
    high: float
    unit: str = ""
    above_low: bool = False
    """True: the value must be more than `low`."""
    off: int | None = None
    """Value below `low` that switches the field off."""
    optional: bool = False

    def fault(self, value: float) -> str:
        """Return what the value must be; empty if it is so."""
        if value == self.off or (self.low < value <= self.high):
            return ""
        if value == self.low and not self.above_low:
            return ""
        unit = f" {self.unit}" if self.unit else ""
        least = "more than" if self.above_low else "at least"
        either = "" if self.off is None else f"{self.off} (off) or "
        if not value > self.high:
            return f"must be {either}{least} {_written(self.low)}{unit}"
        return f"must be {either}at most {_written(self.high)}{unit}"


NUMBERS: Mapping[str, Bounds] = {
    "samples": Bounds(1, 100_000),
    "search_stages": Bounds(1, 1_000, optional=True),
    "reference_samples": Bounds(1, 1_000, optional=True),
    "confirm": Bounds(1, 1_000, off=0, optional=True),
    "confirm_seeds": Bounds(1, 1_000, optional=True),
    "halving": Bounds(2, 1_000, off=0),
    "concurrent": Bounds(1, 10_000, optional=True),
    "workers_per_trial": Bounds(1, 4_096),
    "gpus_per_worker": Bounds(0, 1, above_low=True, optional=True),
    # torch and NumPy's generators take no other seeds.
    "seed": Bounds(0, 2**63 - 1),
    "time_budget": Bounds(0, 10 * 365 * 86_400, "seconds", above_low=True, optional=True),
    "store_limit": Bounds(0, 1e9, "GB", above_low=True, optional=True),
}
WHOLE = (
    *("samples", "search_stages", "reference_samples", "halving", "confirm", "confirm_seeds"),
    *("concurrent", "workers_per_trial", "seed"),
)
"""Numbers without a fraction."""
WANTED: Mapping[type, str] = {
    tuple: "list of names",
    int: "whole number",
    float: "number",
    str: "text",
    bool: "truth value (true, false)",
}


def check_numbers(plan: SearchPlan) -> None:
    """Raise `InputError` for a number of the plan that lies outside its bounds."""
    for name in NUMBERS:
        flag = f"--{name.replace('_', '-')}" if name in ("concurrent", "store_limit") else name
        check_number(name, getattr(plan, name), flag)


def check_number(name: str, value: float | None, called: str = "") -> None:
    """Raise `InputError` if a number lies outside the bounds of the field `name`."""
    if value is not None and (fault := NUMBERS[name].fault(value)):
        raise InputError(f"{called or name} {fault}, got {_written(value)}")


def typed(where: str, name: str, value: Any) -> Any:
    """Return a field's value in the field's type; raises `InputError` for one of another type."""
    kind: Any = _kind(name)
    if name in NUMBERS and NUMBERS[name].optional and value is None:
        return None
    if name == "time_budget" and isinstance(value, str):
        try:
            return read_duration(value)
        except InputError as error:
            raise InputError(f"{where}: {name} {error}") from error
    value = truth(value) if kind is bool else value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    fits = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    if kind is tuple and isinstance(value, list | tuple):
        fits, value = all(isinstance(part, str) for part in value), tuple(value)
    if not fits or (kind is float and math.isnan(value)):
        got = f"got {shown(value)}{_hint(value, kind)}"
        raise InputError(f"{where}: {name} must be a {WANTED.get(kind, 'mapping')}, {got}")
    if name in PATHS and value:
        check_path(str(value), f"{where}: {name}")
    return value


def _kind(name: str) -> type:
    """Return the type of a field's values; any mapping for one of knobs."""
    if name in NUMBERS:
        return int if name in WHOLE else float
    default = next(f for f in dataclasses.fields(SearchPlan) if f.name == name)
    value = default.default if default.default is not dataclasses.MISSING else {}
    return Mapping if isinstance(value, Mapping) else type(value)  # type: ignore[type-abstract]


def _hint(value: object, kind: type) -> str:
    """Return what would do, for the usual slips."""
    if kind is tuple and isinstance(value, str):
        names = ", ".join(part.strip() for part in value[:200].split(",") if part.strip())
        return f"; [{names}] would do" if names and len(names) < 80 else ""
    if kind in (int, float) and isinstance(value, str) and value.strip().isdecimal():
        return "; without quotes it would do"
    if kind is int and isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return f"; {int(value)} would do"
    return ""


def _written(value: float) -> str:
    """Return a number in few characters."""
    if isinstance(value, int):
        return (
            f"{value:,}"
            if abs(value) < 10**21
            else f"a number of {len(shown(value))} or more digits"
        )
    return f"{value:g}"
