"""Simulated searches with known truth, judged by the product's own code.

    python -m benchmarks.calibration.simulate [--searches 1000] [--units 8]

prints the coverage of intervals, how often equal strategies are told apart, and which gaps are found.
Every component of the model is a flag, so that it can be fitted to real runs.

A hierarchical model gives every configuration a true score, and every run luck of its ordering, of its
seed, of the two with the configuration, and of the examples scored. A search picks the best of each
strategy on its panel at one seed. These are confirmed on fresh units, and `judge` gives the verdict.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from search.confirmation.estimates import mean_interval
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
    def paired(self) -> float:
        """Deviation of a unit's paired difference of two configurations near `mean`."""
        answers = (
            self.mean
            * (1 - self.mean)
            / self.examples
            * (1 - self.difficulty - self.difficulty_own)
        )
        return float(np.sqrt(2 * (self.unit_own**2 + answers)))


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


# Figures -----------------------------------------------------------------------------------------


def coverage(found: Sequence[Simulated], truth: str = "truth") -> float:
    """Return how often the 95 % interval of a searched finalist's mean holds its true score."""
    return _share(
        one.verdict.scores[name].low <= value <= one.verdict.scores[name].high
        for one in found
        for name, value in getattr(one, truth).items()
        if name not in (FLOOR, CEILING)
    )


def paired_coverage(found: Sequence[Simulated], units: int) -> float:
    """Return how often the 95 % interval of two searched finalists' difference holds the true one."""
    hits = []
    for one in found:
        a, b = (
            [one.confirmation.score(unit, name) or 0.0 for unit in range(units)]
            for name in ("0000", "0001")
        )
        interval = mean_interval(np.subtract(a, b).tolist())
        hits.append(interval.low <= one.truth["0000"] - one.truth["0001"] <= interval.high)
    return _share(hits)


def leader_coverage(found: Sequence[Simulated]) -> float:
    """Return how often the leader's own interval holds its true score, though it was chosen by it."""
    return _share(
        one.verdict.scores[one.verdict.leader].low
        <= one.truth[one.verdict.leader]
        <= one.verdict.scores[one.verdict.leader].high
        for one in found
    )


def lead_coverage(found: Sequence[Simulated]) -> float:
    """Return how often all intervals of the leader's leads hold the true ones at once."""
    return _share(
        all(
            interval.low <= one.truth[one.verdict.leader] - one.truth[name] <= interval.high
            for name, interval in one.verdict.behind.items()
            if name != CEILING
        )
        for one in found
    )


def called_best(found: Sequence[Simulated]) -> float:
    """Return how often the verdict is "best"."""
    return _share(one.verdict.kind == "best" for one in found)


def rightly_best(found: Sequence[Simulated], name: str = "0000") -> float:
    """Return how often the verdict is that this finalist is best."""
    return _share(one.verdict.kind == "best" and one.verdict.leader == name for one in found)


def kept_best(found: Sequence[Simulated]) -> float:
    """Return how often the truly best finalist is among those not told apart from the leader."""
    return _share(one.best in one.verdict.together for one in found)


def _share(hits: Any) -> float:
    return float(np.mean(list(hits)))


def power_gap(
    model: Components, searches: int, units: int, wanted: float = 0.8
) -> tuple[float, float]:
    """Return the least gap, in deviations of a unit's difference, that is found so often, and how often."""
    for gap in np.arange(0.4, 3.01, 0.1):
        found = simulate(equal(model), [gap * model.paired], searches, units)
        if (share := rightly_best(found)) >= wanted:
            return float(gap), share
    return float("nan"), 0.0


def equal(model: Components, strategies: int | None = None) -> Components:
    """Return the model with strategies and configurations that are all equal, example by example."""
    alike = dataclasses.replace(equal_on_average(model), difficulty_own=0.0)
    return dataclasses.replace(alike, strategies=strategies or model.strategies)


def equal_on_average(model: Components) -> Components:
    """Return the model with strategies that are equal over all examples, and not on those scored."""
    return dataclasses.replace(model, strategy=0.0, knobs=0.0)


def report(
    model: Components, searches: int, units: int, say: Callable[[str], None] = print
) -> None:
    """Print how often the intervals and verdicts of simulated searches are right."""
    say(f"{searches} searches each, {units} units at most, looks after {looks_within(units)}")
    real = simulate(model, [], searches, units)
    say(f"95 % interval of a mean, these examples          {coverage(real):.1%}  (95 %)")
    say(f"the same, for all examples                       {coverage(real, 'population'):.1%}")
    say(
        f"95 % interval of a paired difference             {paired_coverage(real, units):.1%}  (95 %)"
    )
    say(f"95 % interval of the leader's mean               {leader_coverage(real):.1%}")
    say(
        f"all leads at once, at their own levels           {lead_coverage(real):.1%}  (at least 95 %)"
    )
    say(f"the best is the leader, or not told apart        {kept_best(real):.1%}  (at least 95 %)")
    for count in (2, model.strategies):
        same = simulate(equal(model, count), [], searches, units)
        say(
            f"{count} equal strategies: one is called best          {called_best(same):.1%}  (at most 5 %)"
        )
    differ = simulate(equal_on_average(model), [], searches, units)
    say(f"strategies that differ on these examples alone   {called_best(differ):.1%}")
    for deviations, of in (
        (2.0, "a unit's difference"),
        (2 / np.sqrt(units), "the mean difference"),
    ):
        found = simulate(equal(model, 2), [deviations * model.paired], searches, units)
        say(f"gap of 2 standard errors of {of:20} {rightly_best(found):.1%}")
    gap, share = power_gap(model, max(10, searches // 5), units)
    say(
        f"a gap of {gap:.1f} deviations of a unit's difference ({gap * model.paired:.3f}, "
        f"{gap * np.sqrt(units):.1f} standard errors of its mean) is found in {share:.0%}"
    )


def parser() -> argparse.ArgumentParser:
    """The flags."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--searches", type=int, default=1000)
    p.add_argument("--units", type=int, default=8, help="units of a confirmation at most")
    for field in dataclasses.fields(Components):
        flag = f"--{field.name.replace('_', '-')}"
        p.add_argument(flag, type=type(field.default), default=field.default)
    return p


def main(argv: Sequence[str] | None = None) -> None:
    """Print the figures."""
    args = vars(parser().parse_args(argv))
    searches, units = args.pop("searches"), args.pop("units")
    report(Components(**args), searches, units)


if __name__ == "__main__":
    main()
