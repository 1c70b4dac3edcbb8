"""Uncertainty of a finalist's test figure by the examples that are scored: a bootstrap of stored answers.

All units are scored on the same examples. So the intervals over units hold for these examples, and this
one says how far others would move the same figure. The two stand side by side and are not added.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from search.confirmation.estimates import LEVEL, Interval
from search.confirmation.results import TEST, Confirmation, cell_name
from search.plan.checks import STAGES
from search.plan.saved_plan import read_saved_plan
from spaces.errors import InputError
from tasks import Benchmark, load_benchmark
from trainables.store.records import ScoreRecord
from trainables.store.stage_store import StageStore

RESAMPLES = 2_000
METRIC = "final_average"
"""Metric whose uncertainty by examples is known: a mean over answers."""
CLOSE = 1e-6
"""Difference of a score and the mean over its answers that is rounding."""


@dataclass(frozen=True)
class ExampleSpread:
    """Spread of a finalist's test figure, and of its lead over another, over the examples scored."""

    score: Interval
    lead: Interval | None
    """Paired difference to `other` on the same examples; None without another finalist."""
    other: str
    examples: int
    """Test examples of all tasks."""
    clusters: int
    """Images among them; examples without one count each."""


class UnknownError(Exception):
    """Reason why the uncertainty by examples is not known; it is only left out then."""


def example_spread(
    confirmation: Confirmation, name: str, other: str, units: int
) -> ExampleSpread | str:
    """Return the 95 % percentile intervals of a bootstrap over test examples, or why there are none.

    Within each task, images are drawn with all of their examples (a cluster bootstrap: Davison and
    Hinkley 1997, section 3.8). An example counts by its mean score over the units. The draw is the same
    for the same answers. `other` may be empty.
    """
    try:
        chosen = [one for one in (name, other) if one]
        scores = [mean_by_example(confirmation, one, units) for one in chosen]
        groups = _groups(confirmation, {task: len(own) for task, own in scores[0].items()})
        if any({t: len(s) for t, s in o.items()} != _sizes(groups) for o in scores):
            raise UnknownError("the stored answers are not those of the test split")
    except UnknownError as error:
        return str(error)
    drawn = [resampled(own, groups) for own in scores]
    values = [float(np.mean([np.mean(own) for own in one.values()])) for one in scores]
    lead = _percentiles(values[0] - values[1], drawn[0] - drawn[1]) if other else None
    return ExampleSpread(
        score=_percentiles(values[0], drawn[0]),
        lead=lead,
        other=other,
        examples=sum(map(len, groups.values())),
        clusters=sum(len(set(own)) for own in groups.values()),
    )


def resampled(
    scores: Mapping[str, np.ndarray], groups: Mapping[str, Sequence[Hashable]]
) -> np.ndarray:
    """Return (RESAMPLES,): the mean over tasks of each one's mean score, in resamples of its groups.

    `scores`: (examples,) by task. The same groups give the same draws, so that two results are paired.
    """
    means = []
    for task in sorted(scores):
        names = {group: place for place, group in enumerate(dict.fromkeys(groups[task]))}
        member, count = np.array([names[group] for group in groups[task]]), len(names)
        rng = np.random.default_rng(0)
        draws = rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
        sums = draws @ np.bincount(member, scores[task], count)
        means.append(sums / (draws @ np.bincount(member, minlength=count)))
    return np.mean(means, axis=0)


def mean_by_example(confirmation: Confirmation, name: str, units: int) -> dict[str, np.ndarray]:
    """Return (examples,) for each task: an answer's score after the last stage, mean over the units.

    Raises `UnknownError` if an answer is lost, or if they do not make up the figure.
    """
    if confirmation.plan.metric != METRIC or confirmation.run is None:
        raise UnknownError(f"only {METRIC.replace('_', ' ')} is a mean over answers")
    store = StageStore(confirmation.run.parent / STAGES)
    found: dict[str, list[list[float]]] = {}
    for unit in range(units):
        record = confirmation.records.get(cell_name(unit, name, TEST))
        if record is None or record.state != "finished":
            raise UnknownError("runs on the test split are missing")
        last = record.matrices[0].stages
        for cell in record.cells:
            if cell.stage == last and cell.task in record.matrices[0].tasks:
                answers = _answers(store.get(cell.key))
                found.setdefault(cell.task, []).append(answers)
    if not found or any(len({*map(len, own)}) != 1 or len(own) != units for own in found.values()):
        raise UnknownError("stored answers are missing")
    return {task: np.mean(own, axis=0) for task, own in found.items()}


def _answers(record: Any) -> list[float]:
    if not isinstance(record, ScoreRecord) or not record.predictions:
        raise UnknownError("stored answers are missing")
    each = [answer.get("score") for answer in record.predictions]
    known = [float(score) for score in each if score is not None]
    if len(known) < len(each) or abs(math.fsum(known) / len(known) - record.score) > CLOSE:
        raise UnknownError(f"{record.metric} of {record.task} is no mean over answers")
    return known


def _sizes(groups: Mapping[str, Sequence[Hashable]]) -> dict[str, int]:
    return {task: len(own) for task, own in groups.items()}


def _groups(confirmation: Confirmation, sizes: Mapping[str, int]) -> dict[str, list[Hashable]]:
    """Return the image of each test example, by task; of one without an image, its row."""
    assert confirmation.run is not None
    try:
        benchmark = load_benchmark(read_saved_plan(confirmation.run).benchmark.path)
        return {task: image_groups(benchmark, task) for task in sizes}
    except (InputError, OSError, KeyError) as error:
        raise UnknownError("the test data are not here, so that images cannot be told") from error


def image_groups(benchmark: Benchmark, task: str, split: str = TEST) -> list[Hashable]:
    """Return what the examples of a split that belong together have in common: their images."""
    rows = benchmark.task(task).examples(split)
    images: dict[int, tuple[Hashable, ...]] = {}
    for row, number, content in rows.image_buffers():
        image = hashlib.sha256(content).digest() if number is None else number
        images[row] = (*images.get(row, ()), image)
    return [images.get(row, ("row", row)) for row in range(len(rows))]


def _percentiles(value: float, drawn: np.ndarray) -> Interval:
    low, high = np.percentile(drawn, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return Interval(value, float(low), float(high), 0)


def example_line(spread: ExampleSpread | str, called: str, other: str, half: float) -> str:
    """Return a line on the uncertainty by examples; `half`: that of the interval over units."""
    if isinstance(spread, str):
        return f"How far the figure depends on the test examples is not known: {spread}."
    lead = ""
    if spread.lead:
        low, high = spread.lead.low, spread.lead.high
        lead = f", {spread.lead.estimate:+.3f} ({low:+.3f} to {high:+.3f}) over {other}"
    more = spread.score.half > half
    advice = "more test examples would tell more than more units" if more else (
        "more units would tell more than more test examples"
    )  # fmt: skip
    return (
        f"With other test examples: {called} {spread.score}{lead}, by a bootstrap "
        f"of {spread.clusters} images with {spread.examples} questions; {advice}."
    )
