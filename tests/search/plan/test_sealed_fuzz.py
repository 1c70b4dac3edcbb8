"""Mutants of sealed files: best.yaml and plan.json, with a seal that fits and with one that does not."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from best_values import BEST, PLACES
from records import TASKS

from search.final.best_record import read_best_record
from search.plan.saved_plan import PLAN_FILE, SavedPlan, read_saved_plan
from spaces import InputError
from spaces.records import Record
from spaces.seals import sealed
from spaces.yaml_files import write_yaml

PLAN = {
    "schema": SavedPlan.SCHEMA,
    "name": "mine",
    "plan": {"plan": "default", "samples": 3, "time_budget": 60.0, "tasks": list(TASKS)},
    "objectives": [["final_average", "max"], ["forgetting", "min"]],
    "code": {"replay": "0b"},
    "search_code": "0c",
    "metrics": dict.fromkeys(TASKS, "exact_match"),
    "stages_configured": 12,
    "started": "2026-01-01T00:00:00",
    "seconds": 1.5,
    **PLACES,
}
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2.5, 1e308, -0.0, 10**40, 2**63, "", "x", "0.5", "yes"),
    *(
        "y" * 100_000,
        "\x00",
        "\u2028",
        "a/" * 3000,
        [],
        {},
        [[]],
        [1, [2]],
        {"": 1},
        {"a": {"b": []}},
    ),
    *([None], ["x", 3], ["one", "one"], [["max"]], {"tasks": [], "values": []}),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value but the whole."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, part in inner:
        found.append((*path, key))
        if isinstance(part, dict | list | tuple):
            found += places(part, (*path, key))
    return found


def mutant(values: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return the values with one or two of them replaced, gone, renamed, added, repeated or swapped."""
    rng = random.Random(seed)
    changed = json.loads(json.dumps(values))
    for _ in range(rng.randint(1, 2)):
        *before, key = rng.choice(places(changed))
        holder = changed
        for step in before:
            holder = holder[step]
        kind = rng.randrange(6)
        if kind == 0:
            del holder[key]
        elif kind == 1 and isinstance(holder, dict):
            holder[rng.choice([f"{key}_", "x", "", "schema"])] = holder.pop(key)
        elif kind == 2 and isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        elif kind == 3 and isinstance(holder, dict):
            holder["more"] = rng.choice(ODD)
        elif kind == 4:
            other = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
            holder[key], holder[other] = holder[other], holder[key]
        else:
            holder[key] = rng.choice(ODD)
    return changed


def kept(given: Any, found: Any) -> bool:
    """Return whether every given key and value is in what was found."""
    if isinstance(given, dict):
        return isinstance(found, dict) and all(
            k in found and kept(v, found[k]) for k, v in given.items()
        )
    if isinstance(given, list):
        return isinstance(found, list) and len(given) == len(found) and all(map(kept, given, found))
    return given == found and isinstance(given, bool) == isinstance(found, bool)


def read_best(values: dict[str, Any], folder: Path) -> Record:
    path = folder / "best.yaml"
    path.write_text(write_yaml(values))
    return read_best_record(path)


def read_plan(values: dict[str, Any], folder: Path) -> Record:
    (folder / PLAN_FILE).write_text(json.dumps(values))
    return read_saved_plan(folder)


KINDS: dict[str, tuple[dict[str, Any], Callable[[dict[str, Any], Path], Record]]] = {
    "best": (BEST, read_best),
    "plan": (PLAN, read_plan),
}


def check_mutants(kind: str, folder: Path, seeds: range) -> tuple[int, int]:
    """Return how many mutants with a good seal were accepted and refused; the others are all refused."""
    (whole, read), counts = KINDS[kind], [0, 0]
    for seed in seeds:
        values = mutant(whole, seed)
        try:
            record = read(sealed(values), folder)
            assert kept(values, record.to_values()), f"seed {seed} of {kind} drops a value"
            counts[0] += 1
        except InputError as error:
            counts[1] += 1
            assert str(error) and "\n" not in str(error) and len(str(error)) < 1000
        if values != json.loads(json.dumps(whole)):
            with pytest.raises(InputError):
                read(values | {"seal": sealed(whole)["seal"]}, folder)
    assert sum(counts) == len(seeds)
    return counts[0], counts[1]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_mutated_is_read_with_its_seal_alone(kind: str, tmp_path: Path) -> None:
    values, read = KINDS[kind]
    assert kept(json.loads(json.dumps(values)), read(sealed(values), tmp_path).to_values())
    with pytest.raises(InputError, match="seal"):
        read(values, tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sealed_mutant_is_kept_whole_or_refused(kind: str, tmp_path: Path) -> None:
    accepted, refused = check_mutants(kind, tmp_path, range(150))
    assert accepted and refused


@pytest.mark.fuzz
@pytest.mark.parametrize("kind", KINDS)
def test_thousands_of_sealed_mutants_are_kept_whole_or_refused(kind: str, tmp_path: Path) -> None:
    accepted, refused = check_mutants(kind, tmp_path, range(1000, 4000))
    print(f"sealed {kind}: {accepted} accepted, {refused} refused")
