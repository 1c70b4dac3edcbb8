"""An earlier search with the same plan, whose ended trials are not run again.

A second search repeats its proposals. Each trial ends as it ended then, if the store has all of its stages.
This needs no Ray, and does not depend on the number of lanes.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.plan.resolved_plan import ResolvedPlan
from search.plan.saved_plan import PLAN_FILE, SavedPlan, read_saved_plan
from search.results.run_folder import read_run_folder
from search.tuning.journal import JOURNAL, journal_fault
from search.tuning.restored_trials import replay
from search.tuning.searcher import StudySearcher, ended_proposals
from spaces.damage import set_aside
from spaces.errors import InputError, first_line
from trainables.config import TrialConfig
from trainables.trial_record import TrialRecord

logger = logging.getLogger(__name__)

SAME = ("objectives", "panel", "fingerprints", "code", "search_code", "metrics")
"""Parts of `plan.json` that proposals, scores and stops depend on."""
SAME_FIELDS = (
    *("seed", "strategies", "samples", "reference_samples", "balanced", "scoring"),
    *("training", "adapter", "space", "stopping", "halving", "workers_per_trial"),
)
"""Fields of the plan that proposals, scores and stops depend on."""
REUSABLE = ("finished", "stopped", "diverged")
"""States of trials that end again in the same way; a failure may have come from the machine."""


@dataclass(frozen=True)
class PriorRun:
    """A search with the same plan in the same storage."""

    run: Path
    proposals: Sequence[Mapping[str, Any]]
    """Parameters of the trials, as Optuna names them, up to the first that has not ended."""

    @property
    def name(self) -> str:
        """Name of the search."""
        return self.run.name

    @functools.cached_property
    def trials(self) -> Mapping[str, TrialRecord]:
        """Readable trial records by name."""
        return {trial.name: trial for trial in read_run_folder(self.run).trials}

    def covers(self, samples: int) -> bool:
        """Return whether each of `samples` trials ended in a state that it will end in again."""
        names = [f"{number:04d}" for number in range(samples)]
        return all(n in self.trials and self.trials[n].state in REUSABLE for n in names)

    @property
    def stage_keys(self) -> set[str]:
        """Keys of the stages that the trials reached, trained ahead, or trained before the first one."""
        stages = [s for t in self.trials.values() for s in (*t.stages, *t.ahead)]
        # Before the first stage, there is one to train only if there are initial tasks.
        stages += [t.before for t in self.trials.values() if t.before and t.before.train_seconds]
        return {stage.key for stage in stages}

    @property
    def ended_count(self) -> int:
        """Number of trials that need not be run again."""
        return sum(trial.state in REUSABLE for trial in self.trials.values())


def find_prior_run(plan: SavedPlan, run: Path) -> PriorRun | None:
    """Return the search beside `run` with the same plan that got furthest; None if there is none.

    Folders that are damaged or that other versions wrote are skipped.
    """
    wanted = _identity(plan)
    same = [
        file.parent
        for file in sorted(run.parent.glob(f"*/{PLAN_FILE}"))
        if file.parent != run and _read_identity(file.parent) == wanted
    ]
    found = [(len(p.proposals), p.ended_count, p) for p in map(_read_prior_run, same) if p]
    *_, furthest = max(found, key=lambda entry: entry[:2], default=(None,))
    return furthest if furthest and furthest.proposals else None


def _read_identity(folder: Path) -> list[Any] | None:
    """Return the parts of a saved plan that are compared; None if the folder holds no such plan."""
    try:
        return _identity(read_saved_plan(folder))
    except InputError as error:
        # Other versions wrote other plans: no reason for a warning.
        logger.debug("%s is not compared with the plan: %s", folder, error)
        return None


def _read_prior_run(folder: Path) -> PriorRun | None:
    """Read the search in `folder`, which has the same plan; None if it is damaged."""
    try:
        prior_run = PriorRun(folder, ended_proposals(folder))
        prior_run.trials  # noqa: B018  # read now, so that a damaged folder is skipped
    except (OSError, InputError) as error:
        logger.warning("%s has the same plan, but is skipped: %s", folder, first_line(error))
        return None
    return prior_run


def _identity(saved: SavedPlan) -> list[Any]:
    values = saved.to_values()
    fields = values["plan"]
    return [
        *(values[name] for name in SAME),
        *(fields[name] for name in SAME_FIELDS),
        saved.text_encoder.fingerprint,
    ]


def reuse_prior_run(resolved: ResolvedPlan, searcher: StudySearcher, prior_run: PriorRun) -> None:
    """End the trials of `prior_run` as they ended there, if the store has all that they need."""

    def prior_record(name: str, config: TrialConfig) -> TrialRecord | None:
        prior = prior_run.trials.get(name)
        if prior is None or prior.state not in REUSABLE or prior.config != _plain(config):
            return None
        return _replayed(resolved, name, config, prior)

    searcher.reuse_trials(prior_record)


def _plain(config: TrialConfig) -> Any:
    """Return a configuration as JSON has it, with lists for tuples."""
    return json.loads(json.dumps(config.to_dict()))


def _replayed(
    resolved: ResolvedPlan, name: str, config: TrialConfig, prior: TrialRecord
) -> TrialRecord | None:
    """Take the prior trial's stages from the store and write its record; None if one is missing."""
    trial = resolved.new_trial(config)
    record = replay(trial, resolved.run, name, prior.state, prior.stages_done)
    if record is not None:
        record.write(resolved.run)
    return record


def recover_proposals(resolved: ResolvedPlan) -> PriorRun | None:
    """Return a search as its own prior run if its journal is damaged, which is set aside.

    The trials' records then hold the proposals. None if the journal is sound.
    """
    run = resolved.run
    fault = journal_fault(run)
    if not fault:
        return None
    set_aside(run / JOURNAL, fault)
    found, proposals = PriorRun(run, ()), []
    for number in range(len(found.trials)):
        record = found.trials.get(f"{number:04d}")
        if record is None:  # a lost record: proposals must follow each other without a gap
            break
        proposals.append(resolved.space.flat_point(record.config))
    print(
        f"{JOURNAL} was set aside, because {fault}; the records of {len(proposals)} trials hold its "
        "proposals",
        flush=True,
    )
    return dataclasses.replace(found, proposals=proposals)
