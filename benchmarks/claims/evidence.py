"""What the results in a folder say: figures by (seed, ordering), and their differences."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.claims.jobs import ALIGNED, FINALS, PAIR, similarity_file, wanted_file
from benchmarks.claims.stats import Interval, Unit, mean, paired
from search.results.outcome import Outcome, read_outcome
from search.results.pareto import is_reference
from strategies import strategy_class
from trainables.metrics.score_matrix import ScoreMatrix

RELATIVE = "relative_forgetting"
"""forgetting / learning_average"""


@dataclass(frozen=True)
class Walked:
    """One unit of one strategy: its figures, and its matrices by what they hold."""

    metrics: Mapping[str, float]
    matrices: Mapping[str, ScoreMatrix] = field(default_factory=dict)


@dataclass(frozen=True)
class Difference:
    """A figure of one strategy minus another's, or a single figure, in one preset."""

    what: str
    preset: str
    interval: Interval


@dataclass(frozen=True)
class Pair:
    """Two tasks learned one after the other by finetune."""

    first: str
    second: str
    forgetting: float
    """a[1][first] - a[2][first]"""
    similarity: Mapping[str, float]
    """By modality, and their product."""


@dataclass(frozen=True)
class Evidence:
    """One preset's results."""

    preset: str
    units: Mapping[str, Mapping[Unit, Walked]]
    """By strategy; also finetune from the other start (`ALIGNED`)."""
    tuned: Mapping[str, float]
    """The first objective of each strategy's winner on the tuning orderings."""
    diverged: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """What went wrong, by strategy."""
    pairs: Sequence[Pair] = ()

    @property
    def strategies(self) -> list[str]:
        """Those compared, the best on the tuning orderings first, between the floor and the ceiling."""
        searched = [name for name in self.tuned if name in self.units and not bound(name)]
        searched = sorted(searched, key=lambda name: -self.tuned[name])
        return [n for n in ("finetune", *searched, "joint") if n in self.units]

    @property
    def plain(self) -> list[str]:
        """The strategies searched that ask for no similarity."""
        found = [n for n in self.tuned if not bound(n)]
        return [name for name in found if not strategy_class(name).needs_similarity]

    def values(self, strategy: str, metric: str) -> dict[Unit, float]:
        """A metric of a strategy by unit."""
        units = self.units.get(strategy, {})
        return {unit: walked.metrics.get(metric, math.nan) for unit, walked in units.items()}

    def mean(self, strategy: str, metric: str) -> Interval:
        """Over all units; unknown if any of a strategy's walks diverged."""
        if self.diverged.get(strategy):
            return Interval(math.nan, math.nan, math.nan, len(self.units.get(strategy, {})))
        return mean(self.values(strategy, metric))

    def difference(self, metric: str, one: str, other: str) -> Difference:
        """one - other, paired over their units."""
        interval = paired(self.values(one, metric), self.values(other, metric))
        return Difference(f"{metric}: {one} - {other}", self.preset, interval)

    def single(self, metric: str, strategy: str) -> Difference:
        """A metric that is itself a difference."""
        return Difference(f"{metric}: {strategy}", self.preset, self.mean(strategy, metric))

    def chosen(self, names: Sequence[str]) -> str:
        """The best of some strategies on the tuning orderings; the first if none has a winner."""
        return max(names, key=lambda name: self.tuned.get(name, -math.inf))


def bound(name: str) -> bool:
    """Whether a strategy is the floor or the ceiling."""
    return name == "finetune" or is_reference(name)


@dataclass(frozen=True)
class Study:
    """A preset's search and its results."""

    search: Outcome
    evidence: Evidence
    missing: Sequence[str]
    """The results that are not there yet."""


def read_study(work: Path, preset: str) -> Study:
    """Read what is there of a preset; raises `InputError` if it was never searched."""
    verdict = read_outcome(work / preset)
    metric = verdict.objectives[0][0]
    tuned = {n: row[metric] for n, row in verdict.strategies.items() if row["best"]}
    results, missing = _results(work, preset)
    units: dict[str, dict[Unit, Walked]] = {}
    diverged: dict[str, list[str]] = {}
    for result in results:
        own = units.setdefault(result["name"], {})
        own |= {(result["seed"], unit): walk for unit, walk in map(_walked, result["orderings"])}
        if result["message"]:
            told = f"seed {result['seed']}: {result['message']}"
            diverged.setdefault(result["name"], []).append(told)
    pairs = _pairs(units, similarity_file(work, preset))
    finals = {name: own for name, own in units.items() if not name.startswith(PAIR)}
    return Study(verdict, Evidence(preset, finals, tuned, diverged, pairs), missing)


def _results(work: Path, preset: str) -> tuple[list[dict[str, Any]], list[str]]:
    """The results wanted, and the names of those that are not there or come from something else."""
    wanted = wanted_file(work, preset)
    identities = json.loads(wanted.read_text()) if wanted.exists() else {}
    results, missing = [], []
    for name, identity in identities.items():
        file = work / FINALS / name
        result = json.loads(file.read_text()) if file.exists() else {}
        if result.get("identity") == identity:
            results.append(result)
        else:
            missing.append(file.stem)
    return results, missing


def _walked(saved: Mapping[str, Any]) -> tuple[tuple[str, ...], Walked]:
    metrics = {n: math.nan if v is None else v for n, v in saved["metrics"].items()}
    learned = metrics["learning_average"]
    metrics[RELATIVE] = metrics["forgetting"] / learned if learned else math.nan
    matrices = {
        name: ScoreMatrix.from_dict(value)
        for name, value in saved.items()
        if name not in ("ordering", "metrics")
    }
    return tuple(saved["ordering"]), Walked(metrics, matrices)


def _pairs(units: Mapping[str, Mapping[Unit, Walked]], file: Path) -> list[Pair]:
    similarity = json.loads(file.read_text()) if file.exists() else {}
    found = []
    for name, own in units.items():
        for (_, ordering), walked in own.items() if name.startswith(PAIR) else ():
            first, second = ordering
            values = walked.matrices["scores"].values
            known = {n: by[first] for n, by in similarity.get(second, {}).items()}
            lost = float(values[1, 0] - values[2, 0])
            found.append(Pair(first, second, lost, known))
    return found


__all__ = ["ALIGNED", "Difference", "Evidence", "Pair", "Study", "Unit", "Walked", "read_study"]
