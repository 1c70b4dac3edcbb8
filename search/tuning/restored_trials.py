"""Trial records that were lost or damaged, written again from the journal and the stage store."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from search.plan.checks import STAGES
from search.plan.reference_runs import reference_runs
from search.plan.saved_plan import SavedPlan, read_saved_plan
from search.plan.space import ConfigSpace, config_space
from search.tuning.define_by_run import unflatten
from search.tuning.journal import load_study
from spaces.damage import set_aside
from spaces.errors import DamagedError, InputError, first_line
from trainables.config import TrialConfig
from trainables.stage_job import DivergedError, Fingerprints
from trainables.store.eviction import pinned
from trainables.store.stage_store import StageStore
from trainables.trainable import trained_earlier
from trainables.trial import PanelTrial
from trainables.trial_record import State, TrialRecord, trial_path

ENDED = "ended"
"""User attribute of a trial with its last state; of the study, with the reference's name after it."""
STATES: dict[TrialState, State] = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "stopped",
    TrialState.FAIL: "failed",
}


class NoRunner:
    """A runner for trials that may only use stages of the store."""

    def run(self, job: object) -> Mapping[str, float]:
        raise AssertionError("a trial that is read from the store trains nothing")

    def ready(self) -> bool:
        return True


def restore_trials(run: Path) -> tuple[list[str], list[str]]:
    """Write again each lost record of a trial that ended, if the store has all of its stages.

    Returns the names of those written, and of those that stay lost.
    """
    try:
        study = load_study(run)
    except InputError:  # without a journal, nobody knows of a lost trial; --resume makes it again
        return [], []
    lost = {} if study is None else _lost(study, run)
    if not lost:
        return [], []
    plan, restored = read_saved_plan(run), []
    space = saved_space(plan)
    references = reference_runs(plan.plan, space)
    for name, (params, end) in lost.items():
        with contextlib.suppress(InputError, KeyError, OSError):
            config = references[name] if params is None else space.config(unflatten(params))
            if _restore(plan, run, name, config, end):
                restored.append(name)
    return restored, [name for name in lost if name not in restored]


def restored_lines(restored: list[str], lost: list[str]) -> list[str]:
    """Say in lines what was written again, and what is lost."""
    lines = []
    if restored:
        lines.append(
            f"restored: the records of {', '.join(restored)} were lost or damaged, and were "
            "written again from the journal and the store"
        )
    if lost:
        lines.append(
            f"lost: {', '.join(lost)} ended by the journal, but the record cannot be read and the "
            "store lacks its stages; search/run.py --resume makes them again"
        )
    return lines


def saved_space(plan: SavedPlan) -> ConfigSpace:
    """Return the space of a saved plan."""
    fixed = {"training": plan.plan.training, "adapter": plan.plan.adapter}
    return config_space(plan.plan.strategies, fixed, plan.plan.space)


def saved_fingerprints(plan: SavedPlan) -> Fingerprints:
    """Return the fingerprints with which a search's stages were made."""
    return Fingerprints(
        model=plan.fingerprints.model,
        tasks=plan.fingerprints.tasks,
        seed=plan.plan.seed,
        workers=plan.plan.workers_per_trial,
        text_encoder=plan.text_encoder.fingerprint,
    )


def replay(
    trial: PanelTrial, run: Path, name: str, end: State, stages_done: int | None
) -> TrialRecord | None:
    """Take a trial's stages from the store and return its record; None if one is missing."""
    message, state = "", "stopped" if end == "stopped" else "finished"
    trial.stages_needed = stages_done if state == "stopped" else None
    with contextlib.ExitStack() as pins:
        if embeddings := [key for _, key in trial.lineage.embeddings()]:
            pins.enter_context(pinned(trial.store, embeddings))
        if not trial.next_is_stored:  # the task embeddings too, by which the other needs are known
            return None
        pins.enter_context(pinned(trial.store, trial.store_keys))
        while not trial.finished and trial.completed != trial.stages_needed:
            if not trial.next_is_stored:
                return None
            try:
                trial.step()
            except DivergedError as error:
                state, message = "diverged", str(error)
                break
    return trial.record(name, state, message, trained_earlier(run, name))


def _lost(study: optuna.Study, run: Path) -> dict[str, tuple[Mapping[str, Any] | None, Any]]:
    """Return the parameters and the end of each trial that ended and has no readable record."""
    return {name: end for name, end in ended_trials(study).items() if not _readable(run, name)}


def ended_trials(study: optuna.Study) -> dict[str, tuple[Mapping[str, Any] | None, Any]]:
    """Return the parameters (None for a reference) and the end of each trial that ended, by name."""
    ended: dict[str, tuple[Mapping[str, Any] | None, Any]] = {
        name.removeprefix(f"{ENDED}/"): (None, end)
        for name, end in study.user_attrs.items()
        if name.startswith(f"{ENDED}/")
    }
    for trial in study.get_trials(deepcopy=False):
        if trial.state.is_finished():
            end = trial.user_attrs.get(ENDED, {"state": STATES[trial.state]})
            ended[f"{trial.number:04d}"] = (trial.params, end)
    return ended


def _readable(run: Path, name: str) -> bool:
    path = trial_path(run, name)
    try:
        TrialRecord.read(path)
    except DamagedError as error:
        set_aside(path, first_line(error))
        return False
    except InputError:
        if path.is_dir():
            set_aside(path, "a folder stands in its place")
        return path.exists()  # of another version: it is left alone
    return True


def _restore(
    plan: SavedPlan, run: Path, name: str, config: TrialConfig, end: Mapping[str, Any]
) -> bool:
    """Write one record again; return False if the store lacks a stage."""
    state: State = end["state"]
    if state == "failed":
        TrialRecord(name=name, state=state, config=config.to_dict()).write(run)
        return True
    store = StageStore(run.parent / STAGES)
    trial = PanelTrial(config, plan.panel, saved_fingerprints(plan), store, NoRunner())
    record = replay(trial, run, name, state, end.get("stages_done"))
    if record is None or record.state != state:
        return False
    record.write(run)
    return True
