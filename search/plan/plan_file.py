"""Plans by name or from a YAML file, and with some of their fields replaced."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from models.location import embedded_names
from search.plan.presets import PLANS
from search.plan.search_plan import SearchPlan
from spaces.errors import InputError, unknown


def named_plan(name: str, extended: tuple[Path, ...] = ()) -> SearchPlan:
    """Return a plan of `search.plan.presets` by its name, or a YAML file's plan by its path.

    `extended` holds the plan files that extend this one, to refuse circles.
    """
    if name.endswith((".yaml", ".yml")):
        return read_plan(Path(name), extended)
    if name not in PLANS:
        raise unknown("plan", name, PLANS)
    return PLANS[name]()


def read_plan(path: Path, extended: tuple[Path, ...] = ()) -> SearchPlan:
    """Read a plan file: `extends:` names the plan whose fields the file replaces.

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
    return with_fields(dataclasses.replace(base, plan=path.stem), values, str(path))


def _numbers(value: Any) -> Any:
    """Convert texts such as 2e-4, which YAML does not read as numbers."""
    if isinstance(value, dict):
        return {name: _numbers(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_numbers(part) for part in value]
    exponent = isinstance(value, str) and re.fullmatch(r"[-+]?\d+\.?\d*[eE][-+]?\d+", value)
    return float(value) if exponent else value


def _beside(path: Path, name: str, value: Any) -> Any:
    """Resolve a field that names a file or folder beside the plan file."""
    if name not in ("extends", "model", "benchmark", "data", "text_encoder") or not isinstance(
        value, str
    ):
        return value
    return str(path.parent / value) if (path.parent / value).exists() else value


def with_fields(plan: SearchPlan, values: Mapping[str, Any], where: str) -> SearchPlan:
    """Return the plan with some fields replaced; raises `InputError` for a wrong name or type."""
    kinds = {f.name: type(getattr(plan, f.name)) for f in dataclasses.fields(plan)}
    optional: dict[str, type] = {"concurrent": int, "gpus_per_worker": float}
    optional |= {"time_budget": float, "store_limit": float}
    new: dict[str, Any] = {}
    for name, value in values.items():
        if name not in kinds or name == "plan":
            raise unknown(f"field in {where}", name, set(kinds) - {"plan"})
        new[name] = _typed(f"{where}: {name}", value, optional.get(name, kinds[name]))
    return dataclasses.replace(plan, **_resets(plan, new), **new)


def _resets(plan: SearchPlan, new: Mapping[str, Any]) -> dict[str, Any]:
    """Return resets of the fields that suit only the embedded model or benchmark that `new` replaces."""
    resets: dict[str, Any] = {}
    if new.get("benchmark", plan.benchmark) != plan.benchmark:
        # Any number of tasks has an order and its reverse.
        resets |= {"tasks": (), "orderings": "given+reverse", "initial": SearchPlan.initial}
    embedded = embedded_names()
    if plan.model in embedded and new.get("model", plan.model) not in embedded:
        resets |= {"training": {}, "adapter": {}, "space": {}}
    return {name: value for name, value in resets.items() if name not in new}


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
