"""Simulated searches with known truth: how often intervals and verdicts are right.

    python -m benchmarks.calibration.simulate [--searches 1000] [--units 8]

prints the coverage of intervals, how often equal strategies are told apart, and which gaps are found.
The components of the model (`model.py`) are those of the recorded table, and each is a flag.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.calibration.model import (
    Components,
    Simulated,
    equal,
    equal_on_average,
    simulate,
)
from benchmarks.calibration.table import fitted, read_table
from search.confirmation.estimates import mean_interval
from search.confirmation.looks import looks_within
from spaces.references import CEILING, FLOOR

UNEVEN, FAR = (1.5, 2.5), -0.2
"""Factors of the spread of two equal strategies, and how far the others are behind them."""


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


def power_table(model: Components, searches: int) -> list[str]:
    """Return how often a leader is found, for leads in deviations of a unit's difference, and for units."""
    leads, units = (1, 2, 3, 4), (2, 3, 5, 8)
    lines = ["lead, in deviations of a unit's difference" + "".join(f"{lead:8}" for lead in leads)]
    for count in units:
        found = [simulate(equal(model), [n * model.paired], searches, count) for n in leads]
        shares = "".join(f"{rightly_best(one):8.0%}" for one in found)
        lines.append(f"found on {count} units at most, of {model.strategies} strategies" + shares)
    return lines


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
    apart = [0.0, 0.0] + [FAR] * (model.strategies - 2)
    for factor in UNEVEN:
        uneven = dataclasses.replace(equal(model), uneven=factor)
        found = simulate(uneven, apart, searches, units)
        say(f"two that vary {factor:g} times as much as the others    {called_best(found):.1%}")
    differ = simulate(equal_on_average(model), [], searches, units)
    say(f"strategies that differ on these examples alone   {called_best(differ):.1%}")
    for deviations, label in (
        (2.0, "two equal but for 2 deviations of a unit's difference"),
        (2 / np.sqrt(units), "two equal but for 2 standard errors of its mean"),
    ):
        found = simulate(equal(model, 2), [deviations * model.paired], searches, units)
        say(f"{label:54} {rightly_best(found):.1%}")
    gap, share = power_gap(model, max(10, searches // 5), units)
    say(
        f"a gap of {gap:.1f} deviations of a unit's difference ({gap * model.paired:.3f}, "
        f"{gap * np.sqrt(units):.1f} standard errors of its mean) is found in {share:.0%}"
    )
    for line in power_table(model, max(10, searches // 5)):
        say(line)


def parser() -> argparse.ArgumentParser:
    """The flags."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--searches", type=int, default=1000)
    p.add_argument("--units", type=int, default=8, help="units of a confirmation at most")
    for name, value in dataclasses.asdict(fitted(read_table())).items():
        p.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    return p


def main(argv: Sequence[str] | None = None) -> None:
    """Print the figures."""
    args = vars(parser().parse_args(argv))
    searches, units = args.pop("searches"), args.pop("units")
    report(Components(**args), searches, units)


if __name__ == "__main__":
    main()
