"""The space in Optuna's tongue, and OptunaSearch made right for stages.

Stock `OptunaSearch` files a trial that a scheduler stopped as complete with its last values;
forgetting is near zero after one task, so that stopped trials would fill the Pareto front.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from ray.tune.search.optuna import OptunaSearch

from search.plan.space import ConfigSpace, Space
from spaces import Domain, OneOf
from trainables.config import TrialConfig
from trainables.store.digest import digest
from trainables.trainable import write_record

STUDY = "citune"


@dataclass(frozen=True)
class Definition:
    """Walks the space with an Optuna trial; parameter names are paths such as `strategy/ewc/decay`.

    The sampler is seeded anew for every parameter from (seed, trial number, path): a suggestion depends
    on the trials before it, and on no kill between two of them or in the middle of one.
    """

    space: Space
    seed: int
    startup: int
    """Trials that are drawn at random, before TPE has anything to go by."""

    def __call__(self, trial: optuna.Trial) -> None:
        self._walk(trial, self.space, "")

    def _walk(self, trial: optuna.Trial, space: Mapping[str, Any], prefix: str) -> None:
        for name, domain in space.items():
            path = f"{prefix}{name}"
            if isinstance(domain, OneOf):
                self._seed(trial, f"{path}/name")
                chosen = trial.suggest_categorical(f"{path}/name", sorted(domain.branches))
                self._walk(trial, domain.branches[str(chosen)], f"{path}/{chosen}/")
            elif isinstance(domain, Mapping):
                self._walk(trial, domain, f"{path}/")
            else:
                self._seed(trial, path)
                _suggest(trial, path, domain)

    def _seed(self, trial: optuna.Trial, path: str) -> None:
        trial.study.sampler = optuna.samplers.TPESampler(
            seed=int(digest("suggestion", self.seed, trial.number, path)[:8], 16),
            n_startup_trials=self.startup,
        )


def _suggest(trial: optuna.Trial, path: str, domain: Domain) -> None:
    match domain:
        case FloatDistribution(low=low, high=high, log=log, step=step):
            trial.suggest_float(path, low, high, log=log, step=step)
        case IntDistribution(low=low, high=high, log=log, step=step):
            trial.suggest_int(path, low, high, log=log, step=step)
        case CategoricalDistribution(choices=choices):
            trial.suggest_categorical(path, choices)


class StudySearcher(OptunaSearch):
    """Proposes configurations; the reference trials first, and what a kill interrupted before new ones.

    Trials stopped before the last stage are filed as pruned, diverged or failed ones as failed.
    """

    def __init__(
        self,
        space: ConfigSpace,
        objectives: Sequence[tuple[str, str]],
        run: Path,
        seed: int,
        samples: int,
        references: Sequence[str],
        balanced: bool = False,
        proposed: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """`proposed`: what an earlier search with the same plan proposed, which comes first."""
        self.config_space = space
        self.run = run
        self.samples = samples
        startup = min(10, max(3, samples // 3))
        if balanced:  # some of each strategy are to be drawn at random
            startup = max(startup, 3 * len(space.open["strategy"].branches))
        self.define = Definition(space.open, seed, startup)
        self.given: dict[str, dict[str, Any]] = {}
        """What each trial was given, by Tune's trial id."""
        self.stopped_names: set[str] = set()
        """Names of the trials that the scheduler stopped, which it notes here."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        journal = run / "optuna.journal"
        super().__init__(
            space=self.define,
            metric=[metric for metric, _ in objectives],
            mode=[mode for _, mode in objectives],
            storage=JournalStorage(JournalFileBackend(str(journal))),
            study_name=STUDY,
        )
        self.proposed = [dict(params) for params in proposed]
        points = [*proposed, *self._points(balanced)[len(proposed) :]][:samples]
        # Those of an earlier go come first in the study, whether or not all of them were noted then.
        for point in points[len(self.study.trials) :]:
            self.study.enqueue_trial(point)
        self.references = [name for name in references if not is_finished(run, name)]
        self.interrupted = [t.number for t in self.study.trials if t.state == TrialState.RUNNING]
        self.unfinished = frozenset(f"{number:04d}" for number in self.interrupted)
        """Names of the trials that an earlier go at the search left open: they are run again."""

    @property
    def study(self) -> optuna.Study:
        """The study behind the search."""
        return self._ot_study  # type: ignore[return-value]

    def _points(self, balanced: bool) -> list[dict[str, Any]]:
        """What is proposed first: each strategy's starting point; if balanced, then they take turns."""
        points = self.config_space.starting_points()
        names = [{"strategy/name": point["strategy/name"]} for point in points]
        return points + names * (self.samples // len(names) if balanced else 0)

    def trials_left(self) -> int:
        """Trials still to be run: references, and samples that are not over, whatever came of them."""
        over = sum(t.state.is_finished() for t in self.study.trials)
        return len(self.references) + max(0, self.samples - over)

    def reuse_trials(self, ended: Callable[[str, TrialConfig], Mapping[str, Any] | None]) -> None:
        """End what was proposed before as it ended then; `ended` returns a trial's record, or None."""
        known = {n: ended(n, self.config_space.reference(n)) for n in self.references}
        self.references = [name for name, told in known.items() if told is None]
        for _ in range(self._waiting_again()):
            trial = self.study.ask()
            self.define(trial)
            config = self.config_space.config(unflatten(trial.params))
            told = ended(f"{trial.number:04d}", config)
            if told is None:
                self.interrupted.append(trial.number)  # its turn comes as if it had been broken off
            else:
                self._tell(trial, told["state"], told["metrics"])

    def _waiting_again(self) -> int:
        """Of the trials asked for next, those that were proposed before: others are drawn in their turn."""
        waiting = self.study.get_trials(deepcopy=False, states=[TrialState.WAITING])
        given = ((t.number, t.system_attrs.get("fixed_params")) for t in waiting)
        known = dict(enumerate(self.proposed))
        return sum(1 for _ in itertools.takewhile(lambda g: known.get(g[0]) == g[1], given))

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        if self.references:
            name = self.references.pop(0)
            return self._give(trial_id, name, self.config_space.reference(name))
        if self.interrupted:
            frozen = self.study.trials[self.interrupted.pop(0)]
            self._ot_trials[trial_id] = optuna.Trial(self.study, frozen._trial_id)
            # What was drawn stays; a kill while it was being drawn left the rest open.
            self.define(self._ot_trials[trial_id])
        else:
            super().suggest(trial_id)
        trial = self._ot_trials[trial_id]
        config = self.config_space.config(unflatten(trial.params))
        return self._give(trial_id, f"{trial.number:04d}", config)

    def _give(self, trial_id: str, name: str, config: TrialConfig) -> dict[str, Any]:
        self.given[trial_id] = {"name": name, "trial": config.to_dict()}
        return self.given[trial_id]

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Optuna takes no intermediate values with several objectives."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        if trial_id not in self.given or trial_id in self._completed_trials:
            return
        self._completed_trials.add(trial_id)
        result = result or {}
        state = "failed" if error else result.get("state", "failed")
        if state == "running":
            if self.given[trial_id]["name"] not in self.stopped_names:
                return  # the time is up: a resumed search goes on with it
            state = "stopped"
        record_end(self.run, self.given[trial_id], state)
        if trial_id in self._ot_trials:
            self._tell(self._ot_trials[trial_id], state, result)

    def _tell(self, trial: optuna.Trial, state: str, result: Mapping[str, Any]) -> None:
        values = [result.get(metric) for metric in self._metric]
        undefined = [v is None or v != v for v in values]
        if state == "stopped":
            self.study.tell(trial, state=TrialState.PRUNED)
        elif state != "finished" or any(undefined):
            self.study.tell(trial, state=TrialState.FAIL)
        else:
            self.study.tell(trial, values)  # type: ignore[arg-type]


def unflatten(params: Mapping[str, Any]) -> dict[str, Any]:
    """`{"a/b": 1}` as `{"a": {"b": 1}}`."""
    tree: dict[str, Any] = {"strategy": {}}
    for path, value in params.items():
        *parts, last = path.split("/")
        branch = tree
        for part in parts:
            branch = branch.setdefault(part, {})
        branch[last] = value
    return tree


def read_record(run: Path, name: str) -> dict[str, Any]:
    """A trial's record; empty if there is none that can be read."""
    try:
        return json.loads((run / "trials" / f"{name}.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}


def ended_proposals(run: Path) -> list[Mapping[str, Any]]:
    """The parameters of a search's trials by number, up to the first that is not over."""
    journal = run / "optuna.journal"
    if not journal.is_file():
        return []
    storage = JournalStorage(JournalFileBackend(str(journal)))
    trials = optuna.load_study(study_name=STUDY, storage=storage).get_trials(deepcopy=False)
    return [t.params for t in itertools.takewhile(lambda t: t.state.is_finished(), trials)]


def is_finished(run: Path, name: str) -> bool:
    """Whether a trial is over and done with."""
    return read_record(run, name).get("state") == "finished"


def record_end(run: Path, given: Mapping[str, Any], state: str) -> None:
    """Note in a trial's record how it ended; one that never got to a stage gets a short record."""
    name = given["name"]
    short = {"name": name, "config": given["trial"], "metrics": {}, "orderings": [], "stages": []}
    known = read_record(run, name) or short
    if known.get("state") != state:
        write_record(run / "trials", {**known, "state": state})
