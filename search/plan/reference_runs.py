"""Reference runs of a search: plain and joint tuning, tuned over the shared knobs that are searched.

A strategy that may choose its learning rate is compared with a floor and a ceiling that may choose theirs.
The first run of each reference has the plan's own values and gives rung scores their scale.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search.plan.search_plan import SearchPlan
from search.plan.space import SHARED, ConfigSpace
from spaces import Domain
from spaces.domains import Value
from spaces.references import REFERENCES
from trainables.config import TrialConfig
from trainables.store.digest import digest

MOST_DRAWS = 256
"""Points drawn at most to find so many that differ."""


def reference_runs(plan: SearchPlan, space: ConfigSpace) -> dict[str, TrialConfig]:
    """Return the configurations of a search's reference runs by name: `finetune`, `finetune-2`, ...

    If no shared knob is searched, each reference is run once. Otherwise each has as many runs as
    `runs_per_reference` says, fewer if the shared knobs have no more values. The points are those of a
    scrambled Halton sequence over the shared knobs, the same ones for all references, so that a small
    budget still covers the space. They depend on the plan's seed and space alone.
    """
    points = [{}, *itertools.islice(_points(plan, space), runs_per_reference(plan, space) - 1)]
    return {
        name if number == 1 else f"{name}-{number}": space.config(
            {"strategy": {"name": name}, **point}
        )
        for name in REFERENCES
        for number, point in enumerate(points, start=1)
    }


def runs_per_reference(plan: SearchPlan, space: ConfigSpace) -> int:
    """Return the runs of each reference: as many as a strategy's samples on average, if not given."""
    if not any(space.open[part] for part in SHARED):
        return 1
    if plan.reference_samples is not None:
        return plan.reference_samples
    return max(1, round(plan.samples / len(plan.strategies)))


def _points(plan: SearchPlan, space: ConfigSpace) -> Iterator[Mapping[str, Mapping[str, Value]]]:
    """Yield points of the shared knobs that differ from each other and from the plan's values."""
    knobs = [(part, knob) for part in SHARED for knob in sorted(space.open[part])]
    if not knobs:
        return
    from scipy.stats import qmc  # takes a second to import

    plain = space.reference(REFERENCES[0])
    seen = {tuple(getattr(getattr(plain, part), knob) for part, knob in knobs)}
    seed = int(digest("reference runs", plan.seed)[:8], 16)
    for unit in qmc.Halton(len(knobs), scramble=True, rng=seed).random(MOST_DRAWS):
        values = tuple(
            _value(space.open[part][knob], float(u))
            for (part, knob), u in zip(knobs, unit, strict=True)
        )
        if values in seen:
            continue
        seen.add(values)
        point: dict[str, dict[str, Value]] = {part: {} for part in SHARED}
        for (part, knob), value in zip(knobs, values, strict=True):
            point[part][knob] = value
        yield point


def _value(domain: Domain, unit: float) -> Value:
    """Return the value at a place between 0 and 1 of a domain."""
    match domain:
        case CategoricalDistribution(choices=choices):
            return choices[int(unit * len(choices))]  # type: ignore[return-value]
        case FloatDistribution(step=None, log=True):
            return math.exp(math.log(domain.low) + unit * math.log(domain.high / domain.low))
        case FloatDistribution(step=None):
            return domain.low + unit * (domain.high - domain.low)
        case FloatDistribution(low=low, high=high, step=step):
            assert step is not None
            return low + step * int(unit * (math.floor((high - low) / step + 1e-9) + 1))
        case IntDistribution(log=True, low=low, high=high):
            return min(
                high, math.floor(math.exp(math.log(low) + unit * math.log((high + 1) / low)))
            )
        case IntDistribution(low=low, high=high, step=step):
            return low + step * int(unit * ((high - low) // step + 1))
