"""Ray Tune's searcher over an Optuna study whose trials may be stopped after any stage.

Ray's own `OptunaSearch` records a trial that a scheduler stopped as complete with its last values.
Forgetting is near zero after one task, so stopped trials would fill the Pareto front.

The study lies in a journal in the search's folder, and a resumed search opens it again. A sample's name is
its number in the study, such as `0007`. Reference trials are not in the study; only their ends are noted
there.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState
from ray.tune.search import Searcher

from search.plan.space import ConfigSpace
from search.tuning.define_by_run import DefineByRun, unflatten
from search.tuning.journal import STUDY, load_study, open_journal
from search.tuning.restored_trials import ENDED
from spaces.errors import InputError
from trainables.config import TrialConfig
from trainables.trial_record import State, TrialRecord, trial_path

DIED_TWICE = "a process of the trial died twice; --resume tries it again"
"""Message of a failed trial whose processes left none."""


class StudySearcher(Searcher):
    """Searcher that proposes reference trials, then lost and interrupted trials, then new ones.

    In the study, stopped trials are pruned and diverged ones failed. A trial that failed has no end there:
    a resumed search tries it again.
    """

    def __init__(
        self,
        space: ConfigSpace,
        objectives: Sequence[tuple[str, str]],
        run: Path,
        seed: int,
        samples: int,
        references: Mapping[str, TrialConfig],
        balanced: bool = False,
        prior_proposals: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Open or create the study in `run`; `prior_proposals` of an identical search come first.

        With `balanced`, the strategies take turns.
        """
        metrics: Any = [metric for metric, _ in objectives]
        modes: Any = [mode for _, mode in objectives]
        super().__init__(metrics, modes)  # Tune takes lists, though its annotations do not say so
        self.objectives = tuple(metric for metric, _ in objectives)
        self.config_space = space
        self.run = run
        self.samples = samples
        self.define = DefineByRun(space.open, seed, startup_trials(space, samples, balanced))
        self.suggested: dict[str, dict[str, Any]] = {}
        """Name and configuration of each suggested trial, by Tune's trial id."""
        self.trials: dict[str, optuna.Trial] = {}
        """Optuna's trial of each sample proposed in this session, by Tune's trial id."""
        self.completed: set[str] = set()
        """Tune's ids of the trials that are over."""
        self.failed: list[str] = []
        """Names of the trials that failed in this session; a resumed search tries them again."""
        self.open_references: set[str] = set()
        """Names of the reference trials under way."""
        self.stopped_names: set[str] = set()
        """Names of the trials that the scheduler stopped; the scheduler adds to it."""
        self.prior_proposals = [dict(params) for params in prior_proposals]
        self.storage = open_journal(run)
        self.study = self._open_study(modes)
        self._enqueue(self._first_points(balanced))
        self._reference_configs = dict(references)
        self.references = [name for name in references if not is_finished(run, name)]
        self._find_unended()

    def _find_unended(self) -> None:
        """Find the trials that earlier sessions left without an end or a record."""
        self.interrupted = [t.number for t in self.study.trials if t.state == TrialState.RUNNING]
        """Numbers of the trials to be resumed before new ones are proposed."""
        self.unfinished = frozenset(f"{number:04d}" for number in self.interrupted)
        """Names of the trials that an earlier session left running."""
        self.lost = [
            t.number
            for t in self.study.trials
            if t.state.is_finished() and read_record(self.run, f"{t.number:04d}") is None
        ]
        """Numbers of the trials that ended but whose record is lost: they run again to write it."""

    def _open_study(self, modes: Sequence[str]) -> optuna.Study:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        return optuna.create_study(
            storage=self.storage,
            study_name=STUDY,
            directions=["minimize" if mode == "min" else "maximize" for mode in modes],
            sampler=optuna.samplers.TPESampler(),  # `DefineByRun` seeds one for each knob
            pruner=optuna.pruners.NopPruner(),
            load_if_exists=True,
        )

    def _enqueue(self, first_points: Sequence[Mapping[str, Any]]) -> None:
        """Enqueue the prior proposals, then the `first_points` beyond their number.

        Trials that an earlier session put into the study are the first of these points: the rest follows.
        """
        points = [*self.prior_proposals, *first_points[len(self.prior_proposals) :]]
        for point in points[len(self.study.trials) : self.samples]:
            self.study.enqueue_trial(dict(point))

    def _first_points(self, balanced: bool) -> list[dict[str, Any]]:
        """Return each strategy's starting point: its default knobs.

        If balanced, points follow that fix the strategies in turn and leave their knobs to be drawn. What
        samples are left over go to the first strategies.
        """
        points = self.config_space.starting_points()
        names = [{"strategy/name": point["strategy/name"]} for point in points]
        return points + names * (math.ceil(self.samples / len(names)) if balanced else 0)

    def trials_left(self) -> int:
        """Return the number of trials still to run: references, and samples that have not ended."""
        ended = sum(t.state.is_finished() for t in self.study.trials)
        return len(self.references) + len(self.lost) + max(0, self.samples - ended)

    def unended(self) -> int:
        """Return the number of trials without an end.

        A trial that failed in this session has ended, although the study holds no end of it.
        """
        failed = sum(name.isdigit() for name in self.failed)
        return self.trials_left() + len(self.open_references) - failed

    def reuse_trials(self, prior_record: Callable[[str, TrialConfig], TrialRecord | None]) -> None:
        """End each trial of the prior run as it ended then, without running it.

        Trials for which `prior_record` returns None are run.
        """
        self.references = [
            n for n in self.references if prior_record(n, self._reference_configs[n]) is None
        ]
        for _ in range(self._repeated()):
            trial = self.study.ask()
            self.define(trial)
            config = self.config_space.config(unflatten(trial.params))
            record = prior_record(f"{trial.number:04d}", config)
            if record is None:
                self.interrupted.append(trial.number)
            else:
                self._tell(trial, record.state, record.metrics, record.stages_done)

    def _repeated(self) -> int:
        """Count the queued trials, from the front, that repeat the prior run's proposals."""
        queued = self.study.get_trials(deepcopy=False, states=[TrialState.WAITING])
        params = ((t.number, t.system_attrs.get("fixed_params")) for t in queued)
        prior = dict(enumerate(self.prior_proposals))
        return sum(1 for _ in itertools.takewhile(lambda p: prior.get(p[0]) == p[1], params))

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Propose the next trial: its name and configuration, as `StageTrainable` takes them."""
        if self.references:
            name = self.references.pop(0)
            self.open_references.add(name)
            return self._suggested(trial_id, name, self._reference_configs[name])
        if self.lost:  # the study has its end already, so it gets no entry in `self.trials`
            number = self.lost.pop(0)
            config = self.config_space.config(unflatten(self.study.trials[number].params))
            return self._suggested(trial_id, f"{number:04d}", config)
        trial = self._interrupted_trial() if self.interrupted else self.study.ask()
        self.trials[trial_id] = trial
        # Knobs drawn before an interruption keep their values; the others are drawn now.
        self.define(trial)
        config = self.config_space.config(unflatten(trial.params))
        return self._suggested(trial_id, f"{trial.number:04d}", config)

    def _interrupted_trial(self) -> optuna.Trial:
        study = self.storage.get_study_id_from_name(STUDY)
        number = self.interrupted.pop(0)
        found = self.storage.get_trial_id_from_study_id_trial_number(study, number)
        return optuna.Trial(self.study, found)

    def _suggested(self, trial_id: str, name: str, config: TrialConfig) -> dict[str, Any]:
        self.suggested[trial_id] = {"name": name, "trial": config.to_dict()}
        return self.suggested[trial_id]

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Ignore the result: Optuna takes no intermediate values with several objectives."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Write how a trial ended into its record and the study; ignore ids that ended before."""
        if trial_id not in self.suggested or trial_id in self.completed:
            return
        self.completed.add(trial_id)
        result = result or {}
        state = "failed" if error else result.get("state", "failed")
        if state == "running":
            if self.suggested[trial_id]["name"] not in self.stopped_names:
                return  # time budget or signal: it has no end, and a resumed search continues it
            # A trainable does not know that the scheduler stops it: its record still says `running`.
            state = "stopped"
        name = self.suggested[trial_id]["name"]
        record_end(self.run, self.suggested[trial_id], state)
        self.open_references.discard(name)
        if state == "failed":
            # The machine may be at fault: without an end in the study, --resume tries it again.
            self.failed.append(name)
        elif trial_id in self.trials:
            self._tell(self.trials[trial_id], state, result, result.get("stages_done"))
        elif not name.isdigit():
            self.study.set_user_attr(f"{ENDED}/{name}", {"state": state})

    def _tell(
        self, trial: optuna.Trial, state: str, result: Mapping[str, Any], stages_done: int | None
    ) -> None:
        # From these and the stage store, a lost record is written again (`restored_trials`).
        trial.set_user_attr(ENDED, {"state": state, "stages_done": stages_done})
        values = [result.get(metric) for metric in self.objectives]
        undefined = [v is None or v != v for v in values]
        if state == "stopped":
            self.study.tell(trial, state=TrialState.PRUNED)
        elif state != "finished" or any(undefined):
            self.study.tell(trial, state=TrialState.FAIL)
        else:
            self.study.tell(trial, values)  # type: ignore[arg-type]

    def save(self, checkpoint_path: str) -> None:
        """Write no checkpoint for Tune: a search is resumed from the journal and the trial records."""


def startup_trials(space: ConfigSpace, samples: int, balanced: bool) -> int:
    """Return the number of trials that are drawn at random before TPE proposes any."""
    startup = min(10, max(3, samples // 3))
    if balanced:  # some of each strategy are to be drawn at random
        startup = max(startup, 3 * len(space.open["strategy"].branches))
    return startup


def ended_proposals(run: Path) -> list[Mapping[str, Any]]:
    """Return the parameters of a search's trials by number, up to the first that has not ended.

    Failed trials count as ended. Raises `InputError` if the journal cannot be read.
    """
    study = load_study(run)
    trials = study.get_trials(deepcopy=False) if study else []

    def has_ended(trial: optuna.trial.FrozenTrial) -> bool:
        if trial.state.is_finished():
            return True
        record = read_record(run, f"{trial.number:04d}")
        return trial.state == TrialState.RUNNING and record is not None and record.state == "failed"

    return [t.params for t in itertools.takewhile(has_ended, trials)]


def read_record(run: Path, name: str) -> TrialRecord | None:
    """Return a trial's record; None if no readable one exists."""
    try:
        return TrialRecord.read(trial_path(run, name))
    except InputError:
        return None


def is_finished(run: Path, name: str) -> bool:
    """Return whether a trial's record says that it finished."""
    record = read_record(run, name)
    return record is not None and record.state == "finished"


def record_end(run: Path, suggested: Mapping[str, Any], state: State) -> None:
    """Write a trial's last state into its record; create a short one if it finished no stage."""
    name = suggested["name"]
    record = read_record(run, name)
    if record is None:
        record = TrialRecord(name=name, state="running", config=suggested["trial"])
    if record.state != state:
        # A process that dies writes no message.
        message = record.message or (DIED_TWICE if state == "failed" else "")
        record.model_copy(update={"state": state, "message": message}).write(run)
