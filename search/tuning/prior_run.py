"""An earlier search with the same plan: a second one begins where that one ended.

Trials are taken up one by one, with what was proposed then and to the stage that they came to then, as far
as the store has all that they need: without Ray, and whatever several lanes would have made of it now.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.results.run_folder import read_run_folder
from trainables.trial_record import TrialRecord
from search.tuning.searcher import StudySearcher, ended_proposals
from trainables.config import TrialConfig
from trainables.stage_job import DivergedError
from trainables.store.eviction import pinned
from trainables.trainable import trained_before, trial_record, write_record

if TYPE_CHECKING:
    from search.plan.resolved_plan import ResolvedPlan

SAME = ("objectives", "panel", "seed", "fingerprints", "code", "search_code", "metrics")
SAME_FIELDS = (
    *("strategies", "samples", "balanced", "scoring", "training", "adapter", "space"),
    *("stopping", "halving", "workers_per_trial"),
)
"""Of `plan.json` and its `fields`: what proposals, scores and stops come from."""
ENDED = ("finished", "stopped", "diverged")
"""How a trial ends again as it ended there; one that failed may have failed for its machine."""


@dataclass(frozen=True)
class PriorRun:
    """A search with the same plan in the same storage."""

    run: Path
    proposals: Sequence[Mapping[str, Any]]
    """The parameters of its trials, as Optuna names them, up to the first that is not over."""

    @property
    def name(self) -> str:
        """What the search is called."""
        return self.run.name

    @functools.cached_property
    def trials(self) -> Mapping[str, TrialRecord]:
        """Its trials by name, but for records that cannot be read."""
        return {trial.name: trial for trial in read_run_folder(self.run).trials}

    def covers(self, samples: int) -> bool:
        """Whether all `samples` came to an end that they will come to again."""
        names = [f"{number:04d}" for number in range(samples)]
        return all(n in self.trials and self.trials[n].state in ENDED for n in names)

    @property
    def stage_keys(self) -> set[str]:
        """Of the stages that its trials came to, and of those made before and ahead."""
        made = [s for t in self.trials.values() for s in (*t.stages, *t.ahead)]
        # Before the first stage, only what initial tasks were trained for is a stage.
        made += [t.before for t in self.trials.values() if t.before.get("train_seconds")]
        return {str(s["key"]) for s in made if "key" in s}

    @property
    def ended_count(self) -> int:
        """Trials that need not be tried again."""
        return sum(trial.state in ENDED for trial in self.trials.values())


def find_prior_run(plan: Mapping[str, Any], run: Path) -> PriorRun | None:
    """Of the searches beside `run` with the same plan, as `plan.json` has it, the one that got furthest."""
    found = []
    wanted = _identity(json.loads(json.dumps(plan)))
    for file in sorted(run.parent.glob("*/plan.json")):
        # Whatever is wrong with a folder, it is no twin, and no reason not to search.
        with contextlib.suppress(Exception):
            if file.parent != run and _identity(json.loads(file.read_text())) == wanted:
                prior_run = PriorRun(file.parent, ended_proposals(file.parent))
                found.append((len(prior_run.proposals), prior_run.ended_count, prior_run))
    *_, furthest = max(found, key=lambda one: one[:2], default=(None,))
    return furthest if furthest and furthest.proposals else None


def _identity(plan: Mapping[str, Any]) -> list[Any]:
    fields = plan["fields"]
    return [
        *(plan[name] for name in SAME),
        *(fields[name] for name in SAME_FIELDS),
        plan["text_encoder"]["print"],
    ]


def reuse_prior_run(resolved: ResolvedPlan, searcher: StudySearcher, prior_run: PriorRun) -> None:
    """End the trials that ended in `prior_run`, as they ended there, if the store has all that they need."""

    def ended(name: str, config: TrialConfig) -> Mapping[str, Any] | None:
        there = prior_run.trials.get(name)
        if there is None or there.state not in ENDED or there.config != _told(config):
            return None
        return _walked(resolved, name, config, there)

    searcher.reuse_trials(ended)


def _told(config: TrialConfig) -> Any:
    return json.loads(json.dumps(config.to_dict()))


def _walked(
    resolved: ResolvedPlan, name: str, config: TrialConfig, there: TrialRecord
) -> Mapping[str, Any] | None:
    """The trial's record once it has walked as far as it did there; None if a stage is to be made."""
    walk, message = resolved.new_trial(config), ""
    state = "stopped" if there.state == "stopped" else "finished"
    walk.stop_after = there.stages_done if state == "stopped" else None
    with contextlib.ExitStack() as pins:
        if signed := [key for _, key in walk.lineage.embeddings()]:
            pins.enter_context(pinned(walk.store, signed))
        if not walk.at_hand:  # signatures, too, which tell what else is needed
            return None
        pins.enter_context(pinned(walk.store, walk.needs))
        while not walk.finished and walk.completed != walk.stop_after:
            if not walk.at_hand:
                return None
            try:
                walk.step()
            except DivergedError as error:
                state, message = "diverged", str(error)
                break
    folder = resolved.run / "trials"
    own = trained_before(folder / f"{name}.json")
    made = trial_record(name, walk, state, message, own)
    write_record(folder, made)
    return made
