"""A search space as Optuna's define-by-run function."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search.plan.space import Space
from spaces import Domain, OneOf
from trainables.store.digest import digest


@dataclass(frozen=True)
class DefineByRun:
    """Function that suggests every knob of a space; Optuna names them by path: `strategy/ewc/decay`.

    The sampler is seeded anew for every knob from (seed, trial number, path). So a suggestion depends on
    the trials before it, and not on when a search was killed.
    """

    space: Space
    seed: int
    startup: int
    """Number of trials that are drawn at random before TPE starts."""

    def __call__(self, trial: optuna.Trial) -> None:
        self._suggest_space(trial, self.space, "")

    def _suggest_space(self, trial: optuna.Trial, space: Mapping[str, Any], prefix: str) -> None:
        for name, domain in space.items():
            path = f"{prefix}{name}"
            if isinstance(domain, OneOf):
                self._seed(trial, f"{path}/name")
                chosen = trial.suggest_categorical(f"{path}/name", sorted(domain.branches))
                self._suggest_space(trial, domain.branches[str(chosen)], f"{path}/{chosen}/")
            elif isinstance(domain, Mapping):
                self._suggest_space(trial, domain, f"{path}/")
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


def unflatten(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return `{"a": {"b": 1}}` for `{"a/b": 1}`."""
    tree: dict[str, Any] = {"strategy": {}}
    for path, value in params.items():
        *parts, last = path.split("/")
        branch = tree
        for part in parts:
            branch = branch.setdefault(part, {})
        branch[last] = value
    return tree
