"""Cautions about a search's answer: what a reader of the best trial must know before using it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search.plan.space import ConfigSpace, config_space
from search.results.outcome import Outcome
from spaces.errors import InputError, listed
from spaces.references import FLOOR, REFERENCES
from tasks import load_benchmark
from trainables.metrics.score_matrix import ScoreMatrix

EDGE = 0.02
"""Share of a knob's range, at either end, that counts as its end."""
LEARNS_LITTLE = 0.5
"""Share of finetune's learning average up to which a trial of the front learns little."""
LOSES = 0.05
"""General drift above which a trial is said to lose general ability."""
UNCLEAR = 0.1
"""Half of the width that a score's interval may have; with a wider one, a split is called small."""


def cautions(
    outcome: Outcome, examples: Mapping[str, int] | None = None, chosen: str | None = None
) -> list[str]:
    """Return what to know of a trial before using it: where it learns less, and where it lies.

    `examples`: validation examples of each task, where they are known. `chosen`: the trial that a
    confirmation recommends; by default the best one of the search.
    """
    if outcome.best_trial is None:
        return []
    name, sizes = chosen or outcome.best_trial, examples or {}
    return [
        *_optimistic(outcome),
        *_worse_tasks(outcome, name, sizes),
        *_edges(outcome, name),
        *little_learned(outcome),
        *general_loss(outcome, name),
        *_small_splits(outcome, sizes),
    ]


def validation_sizes(outcome: Outcome, tasks: Sequence[str] = ()) -> dict[str, int]:
    """Return the validation examples of each task; nothing if the data are not here any more.

    `tasks`: the tasks in question; those of the search by default.
    """
    try:
        benchmark = load_benchmark(outcome.run.plan.benchmark.path)
        named = [t for t in tasks or outcome.run.plan.panel.tasks if t in benchmark.tasks]
        return {task: len(benchmark.task(task).examples("validation")) for task in named}
    except (InputError, OSError):
        return {}


def _optimistic(outcome: Outcome) -> Iterator[str]:
    """Say that the best of several is higher than it would be again."""
    tried = [row for row in outcome.trials.values() if row["strategy"] not in REFERENCES]
    if len(tried) > 1:
        seed = outcome.run.plan.plan.seed
        yield (
            f"the figure of trial {outcome.best_trial} is optimistic: it chose the trial among "
            f"{len(tried)}, at seed {seed} alone"
        )


def _worse_tasks(outcome: Outcome, name: str, examples: Mapping[str, int]) -> Iterator[str]:
    """Name the tasks learned surely worse than by finetune, or not as well as before training."""
    row = outcome.reference_row(FLOOR)
    floor = outcome.run.trial(row["best"]) if row else None
    matrices = outcome.run.trial(name).matrices
    learned, untrained = _learned(matrices), _untrained(matrices)
    plain = _learned(floor.matrices) if floor and name != floor.name else {}
    for task, score in learned.items():
        if score < untrained.get(task, -math.inf):
            yield (
                f"{task}: {score:.3f} after its own stage, and {untrained[task]:.3f} before any training"
            )
        elif task in plain and score < plain[task] - math.sqrt(2) * _half(
            plain[task], examples.get(task)
        ):
            yield f"{task}: {score:.3f} after its own stage, and {plain[task]:.3f} with {FLOOR}"


def _half(score: float, count: int | None) -> float:
    """Return half of the 95 % interval of a score of so many answers; a coarse one if that is unknown."""
    if not count:
        return UNCLEAR
    share = min(max(score, 0.0), 1.0)
    return 1.96 * math.sqrt(max(share * (1 - share), 0.25 / count) / count)


def _learned(matrices: tuple[ScoreMatrix, ...]) -> dict[str, float]:
    """Return the mean score of each task after its own stage, over orderings that scored it."""
    found: dict[str, list[float]] = {}
    for matrix in matrices:
        for stage, task in enumerate(matrix.tasks, start=1):
            found.setdefault(task, []).append(matrix.row(stage)[task])
    means = {task: float(np.mean(own)) for task, own in found.items()}
    return {task: mean for task, mean in means.items() if not math.isnan(mean)}


def _untrained(matrices: tuple[ScoreMatrix, ...]) -> dict[str, float]:
    scores = [matrix.row(0) for matrix in matrices[:1]]
    return {task: s for row in scores for task, s in row.items() if not math.isnan(s)}


def _edges(outcome: Outcome, name: str) -> Iterator[str]:
    """Name the knobs of a trial that lie at an end of their range."""
    plan, config = outcome.run.plan.plan, outcome.run.trial(name).config
    fixed = {"training": plan.training, "adapter": plan.adapter}
    try:
        space = config_space(plan.strategies, fixed, plan.space)
    except InputError:  # another version's plan is still read
        return
    for knob, value in searched_knobs(space, config):
        domain = _domain(space, config, knob)
        if (side := end_of_range(domain, value)) is not None:
            low, high = _ends(domain)
            yield (
                f"{knob} {value:g} lies at the {side} end of its range ({low:g} to {high:g}): a wider one "
                "may be better"
            )


def searched_knobs(
    space: ConfigSpace, config: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, Any]]:
    """Yield part.knob and value of each knob that the search varied."""
    strategy = config["strategy"]["name"]
    for knob in space.open["strategy"].branches.get(strategy, {}):
        if knob in config["strategy"]:
            yield f"{strategy}.{knob}", config["strategy"][knob]
    for part in ("training", "adapter"):
        for knob in space.open[part]:
            yield f"{part}.{knob}", config[part][knob]


def _domain(space: ConfigSpace, config: Mapping[str, Mapping[str, Any]], name: str) -> Any:
    part, knob = name.rsplit(".", 1)
    strategy = config["strategy"]["name"]
    return (
        space.open["strategy"].branches[part][knob] if part == strategy else space.open[part][knob]
    )


def end_of_range(domain: Any, value: Any) -> str | None:
    """Return "lower" or "upper" for a number at an end of its range; None elsewhere.

    A list of numbers is a range, if it has one between its ends: of two values, either one is an end.
    """
    if isinstance(value, bool | str):
        return None
    if isinstance(domain, CategoricalDistribution):
        numbers = {
            c for c in domain.choices if isinstance(c, int | float) and not isinstance(c, bool)
        }
        if len(numbers) < 3:
            return None
        return {min(numbers): "lower", max(numbers): "upper"}.get(value)
    assert isinstance(domain, FloatDistribution | IntDistribution)
    low, high, here = float(domain.low), float(domain.high), float(value)
    if domain.log and low > 0 and here > 0:
        low, high, here = math.log(low), math.log(high), math.log(here)
    width = high - low
    if width <= 0 or not low <= here <= high:
        return None
    if here - low <= EDGE * width:
        return "lower"
    return "upper" if high - here <= EDGE * width else None


def _ends(domain: Any) -> tuple[float, float]:
    if isinstance(domain, CategoricalDistribution):
        numbers = [c for c in domain.choices if isinstance(c, int | float)]
        return min(numbers), max(numbers)
    return domain.low, domain.high


def trials_with_little_learned(outcome: Outcome) -> dict[str, float]:
    """Return the learning average of each trial of the front with half of finetune's at most."""
    floor = outcome.reference_row(FLOOR)
    if floor is None or not floor.get("learning_average"):
        return {}
    learned = {name: outcome.trials[name].get("learning_average") for name in outcome.front}
    least = LEARNS_LITTLE * floor["learning_average"]
    return {name: value for name, value in learned.items() if value is not None and value <= least}


def little_learned(outcome: Outcome) -> list[str]:
    """Return a line for each trial of the front that learned half of what finetune did at most."""
    floor = outcome.reference_row(FLOOR) or {}
    return [
        f"{name} is on the front, and learns little: {learned:.3f} after each task's own stage, "
        f"and {FLOOR} {floor['learning_average']:.3f}"
        for name, learned in trials_with_little_learned(outcome).items()
    ]


def general_loss(outcome: Outcome, name: str) -> list[str]:
    """Return a line if a trial loses on general tasks, which are scored and never trained."""
    row, tasks = outcome.trials[name], outcome.run.plan.panel.general
    drift, average = row.get("general_drift"), row.get("general_average")
    if drift is None or average is None or drift <= LOSES:
        return []
    return [
        f"{name} loses general ability: {average + drift:.3f} before the first stage, {average:.3f} after "
        f"the last one, over {listed(tasks)}, which nothing trains"
    ]


def _small_splits(outcome: Outcome, examples: Mapping[str, int]) -> Iterator[str]:
    """Name the tasks whose validation split is too small to tell scores apart."""
    best = outcome.run.trial(str(outcome.best_trial)).matrices
    final = _learned(best)
    for task, count in examples.items():
        half = _half(final.get(task, 0.5), count) if count else 1.0
        if half > UNCLEAR:
            yield f"{task}: {count} validation examples, so that a score is good to about ± {half:.2f}"
