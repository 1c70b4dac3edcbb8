"""The plan of a search as its journal holds it, to compare `plan.json` with and to write it again."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from search.plan.saved_plan import PLAN_FILE, SavedPlan, read_saved_plan, write_saved_plan
from search.plan.search_plan import SearchPlan
from search.tuning.journal import load_study
from spaces.damage import set_aside
from spaces.errors import InputError
from spaces.records import VERSION, parse_json
from spaces.seals import SEAL

PLAN = "plan"
"""User attribute of the study that holds the plan with which the search began."""
RESUMABLE = (
    *("samples", "concurrent", "gpus_per_worker", "time_budget", "store_limit"),
    *("confirm", "confirm_seeds", "prefer"),
)
"""Fields of a plan that may change when its search is resumed."""
CHANGING = (
    *(SEAL, "name", "started", "seconds", "precompute_seconds"),
    *("stages_configured", "stages_distinct"),
)
"""Fields of `plan.json` that change from session to session, or with the folder's name."""
SHOWN = 60
"""Characters of a value that an error shows."""


def keep_plan(study: optuna.Study, run: Path) -> None:
    """Record the plan of a search in its study, unless it is there."""
    if PLAN not in study.user_attrs:
        study.set_user_attr(PLAN, read_saved_plan(run).to_values())


def check_plan(run: Path) -> list[str]:
    """Compare `plan.json` with the journal; returns lines on what was written again.

    A plan that cannot be read is set aside and written again. Raises `InputError` that names the
    differences if it was edited.
    """
    recorded = _recorded(run)
    if recorded is None:
        return []
    path, values = run / PLAN_FILE, None
    with contextlib.suppress(OSError, InputError):
        values = parse_json(path.read_bytes(), PLAN_FILE)
    if isinstance(values, dict) and VERSION in values:
        differences = list(_differences(_fixed(recorded.to_values()), _fixed(values)))
        if differences:
            raise InputError(
                f"{path} is not the plan that the search began with: {'; '.join(differences[:5])}; "
                "put it back, or delete the file: it is then written again from the journal"
            )
        with contextlib.suppress(InputError):
            read_saved_plan(run)
            return []
    set_aside(path, "it cannot be read as the plan that the search began with")
    write_saved_plan(run, recorded)
    return [f"{PLAN_FILE} was lost or damaged, and was written again from the journal"]


def check_samples(run: Path, samples: int) -> None:
    """Raise `InputError` if a search has proposed more configurations than it is resumed with."""
    study = None
    # If the journal is damaged, the trials' records hold the proposals.
    with contextlib.suppress(InputError):
        study = load_study(run)
    # Points that were only enqueued are no proposals yet.
    proposed = sum(t.state is not TrialState.WAITING for t in study.trials) if study else 0
    if samples < proposed:
        raise InputError(
            f'--samples must be at least {proposed} to resume "{run.name}", which has proposed so many '
            f"configurations already; got {samples}"
        )


def _recorded(run: Path) -> SavedPlan | None:
    """Return the plan in the journal; None if the journal is damaged or older."""
    try:
        study = load_study(run)
        if study is None or PLAN not in study.user_attrs:
            return None
        return SavedPlan.from_values(study.user_attrs[PLAN], "the journal's plan")
    except InputError:
        return None


def _fixed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a plan that a resumed search may not change, under flat names.

    Fields that an older citune did not write have their defaults.
    """
    values = {**json.loads(SavedPlan.model_construct().model_dump_json()), **values}
    fixed = {name: value for name, value in values.items() if name not in CHANGING}
    plan = fixed.pop("plan", None)
    if isinstance(plan, dict):
        plan = {**json.loads(json.dumps(dataclasses.asdict(SearchPlan("")))), **plan}
        fixed |= {f"plan.{name}": v for name, v in plan.items() if name not in RESUMABLE}
    return fixed


def _differences(began: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name in [*began, *(name for name in now if name not in began)]:
        if name not in now:
            yield f"{name} is missing"
        elif name not in began:
            yield f'"{name[:SHOWN]}" is unknown'
        elif began[name] != now[name]:
            yield f"{name} was {_shown(began[name])}, now {_shown(now[name])}"


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
