"""Replay searches and their confirmations on the recorded table of real trials.

    python -m benchmarks.calibration.replay [--searches 400] [--seed 0] [--first 2]

Each replayed search has a seed of the table, two orderings as its panel, and some configurations. Its best
trials are confirmed by the product's own code on cells of other seeds and orderings. The truth is a
configuration's mean over all cells of the table. A named winner is within noise of the best in hindsight if
the interval of their paired difference over all cells (crossed seeds and orderings) holds 0.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.calibration.table import Ordering, Table, fitted, read_table, spreads
from search.confirmation.course import wanted_runs
from search.confirmation.estimates import crossed_interval
from search.confirmation.finalists import ConfirmationRecord, Finalist
from search.confirmation.looks import MIN_UNITS, looks_within
from search.confirmation.results import SPLITS, Confirmation, cell_name
from search.confirmation.verdict import Verdict, judge
from spaces.references import CEILING, REFERENCES
from trainables.trial_record import TrialRecord
from trainables.unit import Unit

TRIED = 16
"""Configurations that a replayed search tries, of those of the table."""
PANEL = 2
"""Orderings that a replayed search trains on."""


def main() -> None:
    """Replay, and print what the named winners are worth."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--searches", type=int, default=400)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--first", type=int, default=MIN_UNITS, help="units before the first look")
    args = p.parse_args()
    table, rng = read_table(), random.Random(args.seed)
    print(
        f"{len(table.strategies)} configurations, {len(table.seeds)} seeds, "
        f"{len(table.orderings)} orderings"
    )
    for line in spreads(table):
        print(line)
    flags = dataclasses.asdict(fitted(table)).items()
    print(
        "components:", " ".join(f"--{name.replace('_', '-')} {value:.3g}" for name, value in flags)
    )
    found = [replayed(table, rng, args.first) for _ in range(args.searches)]
    for line in summary(table, found):
        print(line)


@dataclass(frozen=True)
class Replayed:
    """One replayed search."""

    tried: tuple[str, ...]
    panel_best: str
    """Configuration with the highest mean on the panel: what a search without confirmation names."""
    verdict: Verdict
    finalists: tuple[str, ...]
    """Finalists that may win."""
    stages: int
    """Stages of the confirmation."""
    everything: int
    """Stages that all finalists on all units would be."""


def replayed(table: Table, rng: random.Random, first: int = MIN_UNITS) -> Replayed:
    """Replay one search and its confirmation."""
    searched = sorted(n for n, strategy in table.strategies.items() if strategy not in REFERENCES)
    floors = [n for n, strategy in table.strategies.items() if strategy == REFERENCES[0]]
    seed, panel = rng.choice(table.seeds), rng.sample(table.orderings, PANEL)
    tried = rng.sample(searched, min(TRIED, len(searched)))

    def on_panel(name: str) -> float:
        return float(np.mean([table.scores[name, seed, ordering] for ordering in panel]))

    best = {
        strategy: max((n for n in tried if table.strategies[n] == strategy), key=on_panel)
        for strategy in sorted({table.strategies[n] for n in tried})
    }
    ceiling = max((n for n, s in table.strategies.items() if s == CEILING), key=on_panel)
    finalists = [*best.values(), max(floors, key=on_panel), ceiling]
    confirmation = _confirmed(table, finalists, seed, panel, rng, first)
    stages = len(table.orderings[0]) * sum(
        record.name.endswith(SPLITS[0]) for record in confirmation.records.values()
    )
    units = len(confirmation.plan.units)
    return Replayed(
        tried=(*tried, *floors),
        panel_best=max([*tried, *floors], key=on_panel),
        verdict=judge(confirmation),
        finalists=tuple(name for name in finalists if name != ceiling),
        stages=stages,
        everything=len(finalists) * units * len(table.orderings[0]),
    )


def _confirmed(
    table: Table,
    finalists: Sequence[str],
    seed: int,
    panel: Sequence[Ordering],
    rng: random.Random,
    first: int,
) -> Confirmation:
    """Return a whole confirmation whose units are cells that the search did not use."""
    seeds = rng.sample([s for s in table.seeds if s != seed], len(table.seeds) - 1)
    fresh = rng.sample([o for o in table.orderings if o not in panel], len(table.orderings) - PANEL)
    units = [Unit(fresh[n % len(fresh)], one) for n, one in enumerate(seeds)]
    plan = ConfirmationRecord(
        finalists=tuple(
            Finalist(name=name, strategy=table.strategies[name], config={"strategy": {}})
            for name in finalists
        ),
        units=tuple(unit.to_dict() for unit in units),
        looks=looks_within(len(units), first),
        metric="final_average",
        higher_is_better=True,
    )
    confirmation = Confirmation(plan, records := {})
    while wanted := wanted_runs(confirmation):
        for number, name, split in wanted:
            score = table.scores[name, units[number].seed, units[number].ordering]
            cell = cell_name(number, name, split)
            records[cell] = TrialRecord(
                name=cell,
                state="finished",
                config={"strategy": {"name": table.strategies[name]}},
                metrics={"final_average": score, "train_seconds": table.seconds[name]},
            )
    return confirmation


def summary(table: Table, found: Sequence[Replayed]) -> list[str]:
    """Return what the winners are worth, with confirmation and by the panel alone."""
    count = len(found)
    kinds = Counter(one.verdict.kind for one in found)
    shares = ", ".join(f"{kind} {number / count:.1%}" for kind, number in kinds.most_common())
    stages, everything = (
        sum(n) for n in zip(*((o.stages, o.everything) for o in found), strict=True)
    )
    named = {
        "recommended by the confirmation, cheapest of equals": lambda o: o.verdict.recommended,
        "leader of the confirmation": lambda o: o.verdict.leader,
        "best of the panel, as without confirmation": lambda o: o.panel_best,
    }
    return [
        f"{count} searches of {TRIED} configurations; verdicts: {shares}",
        f"{'named winner':52}  within noise of the best in hindsight  behind it  the best itself",
        *(_worth(table, found, what, choose) for what, choose in named.items()),
        f"stages of the confirmation, as a share of all finalists on all units: {stages / everything:.1%}",
        f"claims of being best that are wrong by the whole table: {_wrong_claims(table, found):.1%}",
    ]


def _worth(
    table: Table, found: Sequence[Replayed], what: str, choose: Callable[[Replayed], str]
) -> str:
    """Return how good the winners are that a rule names."""
    best = [max(one.tried, key=lambda n: table.cells(n).mean()) for one in found]
    pairs = [(choose(one) or one.panel_best, b) for one, b in zip(found, best, strict=True)]
    sound = np.mean([_is_within_noise(table, n, b) for n, b in pairs])
    lost = np.mean([table.cells(b).mean() - table.cells(n).mean() for n, b in pairs])
    return f"{what:52}  {sound:37.1%}  {lost:9.3f}  {np.mean([n == b for n, b in pairs]):15.1%}"


def _wrong_claims(table: Table, found: Sequence[Replayed]) -> float:
    """Return how often "best" is said of a finalist that another one beats on the whole table."""
    wrong = [
        max(one.finalists, key=lambda n: table.cells(n).mean()) != one.verdict.leader
        for one in found
        if one.verdict.kind == "best"
    ]
    return sum(wrong) / len(found)


def _is_within_noise(table: Table, name: str, best: str) -> bool:
    """Return whether the best's lead over a configuration is not told apart from 0 by all cells."""
    return (
        name == best or crossed_interval((table.cells(best) - table.cells(name)).tolist()).low <= 0
    )


if __name__ == "__main__":
    main()
