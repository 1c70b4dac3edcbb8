"""Hierarchical model of searches with known truth, confirmed and judged by the product's own code.

Every configuration has a true score, and every run luck of its ordering, of its seed, of the two with the
configuration, and of the examples scored. A search picks the best of each strategy at one seed.
These are confirmed on fresh units, and `judge` gives the verdict.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from search.confirmation.finalists import ConfirmationRecord, Finalist
from search.confirmation.looks import looks_within
from search.confirmation.results import SPLITS, VALIDATION, Confirmation, cell_name
from search.confirmation.verdict import Verdict, judge
from spaces.references import CEILING, FLOOR

METRIC = "final_average"


@dataclass(frozen=True)
class Components:
    """The model: true scores, and standard deviations of what moves a score."""

    strategies: int = 4
    """Searched strategies."""
    trials: int = 4
    """Configurations tried of each."""
    orderings: int = 3
    """Orderings of the search's panel."""
    mean: float = 0.45
    """True score of a searched strategy, before `strategy` and `knobs`."""
    floor: float = 0.2
    ceiling: float = 0.55
    strategy: float = 0.05
    """Deviation of true scores between strategies."""
    knobs: float = 0.03
    """Deviation of true scores between configurations of a strategy."""
    ordering: float = 0.03
    """Deviation by the ordering, of all configurations alike."""
    seed: float = 0.02
    """Deviation by the seed, of all configurations alike."""
    ordering_own: float = 0.02
    """Deviation of one configuration on an ordering."""
    seed_own: float = 0.025
    """Deviation of one configuration at a seed."""
    uneven: float = 1.0
    """Factor of the first two strategies' own deviation on a unit, beside that of all others."""
    examples: int = 480
    """Examples scored on a split, of `tasks` tasks."""
    tasks: int = 4
    difficulty: float = 0.4
    """Share of an answer's variance that comes with its example, for all configurations alike."""
    difficulty_own: float = 0.1
    """Share that comes with example and configuration, the same on every unit."""

    @property
    def unit_own(self) -> float:
        """Deviation of one configuration on a fresh unit, whose ordering and seed are both fresh."""
        return float(np.hypot(self.ordering_own, self.seed_own))

    @property
    def answers(self) -> float:
        """Variance of one configuration near `mean` on a unit by its answers alone."""
        fresh = 1 - self.difficulty - self.difficulty_own
        return self.mean * (1 - self.mean) / self.examples * fresh

    @property
    def paired(self) -> float:
        """Deviation of a unit's paired difference of two configurations near `mean`."""
        return float(np.sqrt(2 * (self.unit_own**2 + self.answers)))


@dataclass(frozen=True)
class Simulated:
    """One search: its verdict, and the truth of its finalists."""

    verdict: Verdict
    confirmation: Confirmation
    truth: Mapping[str, float]
    """True score of each finalist on the validation examples, over all orderings and seeds."""
    population: Mapping[str, float]
    """True score over all examples, too."""

    @property
    def best(self) -> str:
        """Finalist with the highest true score on the validation examples, joint tuning aside."""
        return max((n for n in self.truth if n != CEILING), key=lambda name: self.truth[name])


def simulate_search(
    model: Components, leads: Sequence[float], units: int, rng: np.random.Generator
) -> Simulated:
    """Simulate one search and its confirmation; `leads` are added to the strategies' true scores."""
    base = np.full(model.strategies, model.mean) + rng.normal(0, model.strategy, model.strategies)
    base += np.pad(np.asarray(leads, float), (0, model.strategies - len(leads)))
    configs = base[:, None] + rng.normal(0, model.knobs, (model.strategies, model.trials))
    chosen = configs[np.arange(model.strategies), _searched(model, configs, rng).argmax(axis=1)]
    names = [*(f"{number:04}" for number in range(model.strategies)), FLOOR, CEILING]
    population = np.clip([*chosen, model.floor, model.ceiling], 0.02, 0.98)
    luck = rng.normal(0, np.hypot(model.ordering, model.seed), units)
    own = rng.normal(0, model.unit_own, (len(names), units))
    own[:2] *= model.uneven
    runs = np.clip(population[:, None] + luck + own, 0.02, 0.98)
    truth, scores = {}, {}
    for split in SPLITS:
        shared, fresh = _answers(model, population, runs, rng)
        truth[split] = population + shared
        scores[split] = runs + shared[:, None] + fresh
    confirmation = _confirmation(model, names, scores, units)
    verdict = judge(confirmation)
    return Simulated(
        verdict,
        confirmation,
        dict(zip(names, truth[VALIDATION].tolist(), strict=True)),
        dict(zip(names, population.tolist(), strict=True)),
    )


def _searched(model: Components, configs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the scores by which a search chooses: means over its panel, at one seed."""
    panel = rng.normal(0, model.ordering_own, (*configs.shape, model.orderings)).mean(axis=-1)
    seed = rng.normal(0, model.seed_own, configs.shape)
    runs = np.clip(configs + panel + seed, 0.02, 0.98)
    return runs + rng.normal(0, np.sqrt(runs * (1 - runs) / model.examples))


def _answers(
    model: Components, population: np.ndarray, runs: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return what a split's examples add to each finalist's scores: in all runs, and in each.

    Scores come in steps of one example of the mean over tasks.
    """
    variance = population * (1 - population) / model.examples
    alike = rng.normal() * np.sqrt(model.difficulty * variance)
    shared = alike + rng.normal(0, np.sqrt(model.difficulty_own * variance))
    rest = 1 - model.difficulty - model.difficulty_own
    spread = np.sqrt(rest * runs * (1 - runs) / model.examples)
    scores = np.round((runs + shared[:, None] + rng.normal(0, spread)) * model.examples)
    return shared, scores / model.examples - runs - shared[:, None]


def _confirmation(
    model: Components, names: Sequence[str], scores: Mapping[str, np.ndarray], units: int
) -> Confirmation:
    """Return a confirmation as if all finalists had been trained on all units.

    Its own course still ends at the look that decides, and drops who is behind.
    """
    finalists = tuple(
        Finalist(name=name, strategy=name if name in (FLOOR, CEILING) else "replay", config={})
        for name in names
    )
    plan = ConfirmationRecord(
        finalists=finalists,
        units=tuple({"ordering": [], "seed": number} for number in range(units)),
        looks=looks_within(units),
        metric=METRIC,
        higher_is_better=True,
        prefer="mean",
        examples={str(task): model.examples // model.tasks for task in range(model.tasks)},
    )
    records: dict[str, Any] = {
        cell_name(unit, name, split): SimpleNamespace(
            state="finished", metrics={METRIC: float(scores[split][row, unit])}
        )
        for split in SPLITS
        for row, name in enumerate(names)
        for unit in range(units)
    }
    return Confirmation(plan, records)


def simulate(
    model: Components, leads: Sequence[float], searches: int, units: int, seed: int = 0
) -> list[Simulated]:
    """Simulate several searches."""
    rng = np.random.default_rng(seed)
    return [simulate_search(model, leads, units, rng) for _ in range(searches)]


def equal(model: Components, strategies: int | None = None) -> Components:
    """Return the model with strategies and configurations that are all equal, example by example."""
    alike = dataclasses.replace(equal_on_average(model), difficulty_own=0.0)
    return dataclasses.replace(alike, strategies=strategies or model.strategies)


def equal_on_average(model: Components) -> Components:
    """Return the model with strategies that are equal over all examples, and not on those scored."""
    return dataclasses.replace(model, strategy=0.0, knobs=0.0)
