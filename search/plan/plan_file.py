"""Plans by name or from a YAML file, and with some of their fields replaced."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.location import embedded_names
from search.plan.bounds import PATHS, typed
from search.plan.presets import PLANS
from search.plan.search_plan import SearchPlan
from spaces.errors import InputError, shown, unknown
from spaces.paths import check_path, user_path
from spaces.yaml_files import read_yaml

MOST_EXTENDED = 20
"""Plan files that may extend one another."""


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
    path = user_path(str(path), "the plan").resolve()
    if path in extended:
        raise InputError(f'a plan must not extend itself; "{path}" does')
    if len(extended) >= MOST_EXTENDED:
        raise InputError(f"at most {MOST_EXTENDED} plans may extend one another")
    if not path.is_file():
        raise InputError(f'the plan must be one of {", ".join(PLANS)} or a YAML file; no "{path}"')
    values = read_yaml(path)
    if not isinstance(values, dict):
        raise InputError(f'"{path}" must be a mapping of plan fields, got {shown(values)}')
    values = {name: _beside(path, name, value) for name, value in values.items()}
    base = values.pop("extends", "default")
    if not isinstance(base, str):
        raise InputError(f'"{path}": extends must name a plan or a file, got {shown(base)}')
    base = named_plan(base, (*extended, path))
    return with_fields(dataclasses.replace(base, plan=path.stem), values, str(path))


def _beside(path: Path, name: str, value: Any) -> Any:
    """Resolve a field that names a file or folder beside the plan file."""
    if name not in ("extends", *PATHS) or not isinstance(value, str) or not value:
        return value
    check_path(value, f'"{path}": {name}')
    return str(path.parent / value) if (path.parent / value).exists() else value


def with_fields(plan: SearchPlan, values: Mapping[str, Any], where: str) -> SearchPlan:
    """Return the plan with some fields replaced; raises `InputError` for a wrong name or type."""
    known = {f.name for f in dataclasses.fields(plan)} - {"plan"}
    new: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            raise unknown(f"field in {where}", name, known)
        new[name] = typed(where, name, value)
    return dataclasses.replace(plan, **_resets(plan, new), **new)


def _resets(plan: SearchPlan, new: Mapping[str, Any]) -> dict[str, Any]:
    """Return resets of the fields that suit only the embedded model or benchmark that `new` replaces."""
    resets: dict[str, Any] = {}
    if new.get("benchmark", plan.benchmark) != plan.benchmark:
        # Any number of tasks has an order and its reverse.
        resets |= {"orderings": "given+reverse", "initial": SearchPlan.initial}
        resets |= {"tasks": (), "held_out_tasks": (), "general": ()}
    embedded = embedded_names()
    if plan.model in embedded and new.get("model", plan.model) not in embedded:
        resets |= {"training": {}, "adapter": {}, "space": {}}
    return {name: value for name, value in resets.items() if name not in new}
