"""Replay searches and their confirmations on the recorded table of real trials.

    python -m benchmarks.calibration.replay [--searches 400] [--seed 0]

Each replayed search has a seed of the table, two orderings as its panel, and some configurations. Its best
trials are confirmed by the product's own code on cells of other seeds and orderings. The truth is a
configuration's mean over all cells of the table. A named winner is within noise of the best in hindsight if
the interval of their paired difference over all cells (crossed seeds and orderings) holds 0.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from search.confirmation.estimates import crossed_interval
from search.confirmation.finalists import ConfirmationRecord, Finalist
from search.confirmation.results import SPLITS, Confirmation, cell_name
from search.confirmation.scope import confirmation_scope
from search.confirmation.verdict import Verdict, judge
from spaces.references import CEILING, REFERENCES
from trainables.trial_record import TrialRecord
from trainables.unit import Unit

TABLE = Path(__file__).parent / "table.json"
TRIED = 16
"""Configurations that a replayed search tries, of those of the table."""
PANEL = 2
"""Orderings that a replayed search trains on."""

Ordering = tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Final averages of real trials, complete over configurations, seeds and orderings."""

    scores: Mapping[tuple[str, int, Ordering], float]
    """By configuration, seed and ordering."""
    strategies: Mapping[str, str]
    """Strategy of each configuration."""
    seeds: tuple[int, ...]
    orderings: tuple[Ordering, ...]

    def cells(self, name: str) -> np.ndarray:
        """Return a configuration's scores, seeds x orderings."""
        return np.array([[self.scores[name, s, o] for o in self.orderings] for s in self.seeds])


def main() -> None:
    """Replay, and print what the named winners are worth."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--searches", type=int, default=400)
    p.add_argument("--seed", type=int, default=0)
    args = p.parse_args()
    table, rng = read_table(TABLE), random.Random(args.seed)
    print(
        f"{len(table.strategies)} configurations, {len(table.seeds)} seeds, "
        f"{len(table.orderings)} orderings"
    )
    for line in spreads(table):
        print(line)
    found = [replayed(table, rng) for _ in range(args.searches)]
    for line in summary(table, found):
        print(line)


def read_table(path: Path) -> Table:
    """Read the table; joint tuning, which has one ordering, is repeated for all of them."""
    rows = json.loads(path.read_text())["rows"]
    strategies = {row["name"]: row["strategy"] for row in rows}
    orderings = sorted({tuple(row["ordering"]) for row in rows if row["strategy"] != CEILING})
    scores: dict[tuple[str, int, Ordering], float] = {}
    for row in rows:
        final = float(np.mean(row["scores"][-1]))
        for ordering in orderings if row["strategy"] == CEILING else [tuple(row["ordering"])]:
            scores[row["name"], row["seed"], ordering] = final
    return Table(scores, strategies, tuple(sorted({row["seed"] for row in rows})), tuple(orderings))


def spreads(table: Table) -> list[str]:
    """Return the components of the noise: between seeds, between orderings, and the rest."""
    lines = [f"{'configuration':32}  mean    seeds  orderings  rest"]
    for name in table.strategies:
        cells = table.cells(name)
        rest = cells - cells.mean(0) - cells.mean(1, keepdims=True) + cells.mean()
        degrees = (cells.shape[0] - 1) * (cells.shape[1] - 1)
        parts = (cells.mean(1).std(ddof=1), cells.mean(0).std(ddof=1))
        own = float(np.sqrt((rest**2).sum() / degrees))
        lines.append(
            f"{name:32}  {cells.mean():.3f}  {parts[0]:.3f}  {parts[1]:.3f}      {own:.3f}"
        )
    return lines


@dataclass(frozen=True)
class Replayed:
    """One replayed search."""

    tried: tuple[str, ...]
    panel_best: str
    """Configuration with the highest mean on the panel: what a search without confirmation names."""
    verdict: Verdict
    stages: int
    """Stages of the confirmation."""
    everything: int
    """Stages that all finalists on all units would be."""


def replayed(table: Table, rng: random.Random) -> Replayed:
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
    confirmation = _confirmed(table, finalists, seed, panel, rng)
    stages = len(table.orderings[0]) * sum(
        record.name.endswith(SPLITS[0]) for record in confirmation.records.values()
    )
    units = len(confirmation.plan.units)
    return Replayed(
        tried=(*tried, *floors),
        panel_best=max([*tried, *floors], key=on_panel),
        verdict=judge(confirmation),
        stages=stages,
        everything=len(finalists) * units * len(table.orderings[0]),
    )


def _confirmed(
    table: Table,
    finalists: Sequence[str],
    seed: int,
    panel: Sequence[Ordering],
    rng: random.Random,
) -> Confirmation:
    """Return a whole confirmation whose units are cells that the search did not use."""
    seeds = rng.sample([s for s in table.seeds if s != seed], len(table.seeds) - 1)
    fresh = rng.sample([o for o in table.orderings if o not in panel], len(table.orderings) - PANEL)
    units = [Unit(fresh[n % len(fresh)], one) for n, one in enumerate(seeds)]
    scope = confirmation_scope(0, len(fresh[0]), len(finalists) - 2, units=len(units))
    plan = ConfirmationRecord(
        finalists=tuple(
            Finalist(name=name, strategy=table.strategies[name], config={"strategy": {}})
            for name in finalists
        ),
        units=tuple(unit.to_dict() for unit in units),
        looks=scope.looks,
        metric="final_average",
        higher_is_better=True,
    )
    confirmation = Confirmation(plan, records := {})
    while wanted := confirmation.wanted():
        for number, name, split in wanted:
            score = table.scores[name, units[number].seed, units[number].ordering]
            cell = cell_name(number, name, split)
            records[cell] = TrialRecord(
                name=cell,
                state="finished",
                config={"strategy": {"name": table.strategies[name]}},
                metrics={"final_average": score},
            )
    return confirmation


def summary(table: Table, found: Sequence[Replayed]) -> list[str]:
    """Return what the winners are worth, with confirmation and by the panel alone."""
    count = len(found)
    kinds = Counter(one.verdict.kind for one in found)
    named = [one.verdict.recommended or one.panel_best for one in found]
    best = [max(one.tried, key=lambda n: table.cells(n).mean()) for one in found]
    sound = [_is_within_noise(table, n, b) for n, b in zip(named, best, strict=True)]
    before = [
        _is_within_noise(table, one.panel_best, b) for one, b in zip(found, best, strict=True)
    ]
    lost = [table.cells(b).mean() - table.cells(n).mean() for n, b in zip(named, best, strict=True)]
    lost_before = [
        table.cells(b).mean() - table.cells(one.panel_best).mean()
        for one, b in zip(found, best, strict=True)
    ]
    share = sum(one.stages for one in found) / sum(one.everything for one in found)
    return [
        f"{count} searches of {TRIED} configurations; verdicts: "
        + ", ".join(f"{kind} {number / count:.1%}" for kind, number in kinds.most_common()),
        f"the recommended finalist is within noise of the best in hindsight: {np.mean(sound):.1%}; "
        f"behind it by {np.mean(lost):.3f} on average",
        f"the best of the panel, as without confirmation: {np.mean(before):.1%}; "
        f"behind by {np.mean(lost_before):.3f}",
        f"stages of the confirmation, as a share of all finalists on all units: {share:.1%}",
    ]


def _is_within_noise(table: Table, name: str, best: str) -> bool:
    """Return whether the best's lead over a configuration is not told apart from 0 by all cells."""
    return (
        name == best or crossed_interval((table.cells(best) - table.cells(name)).tolist()).low <= 0
    )


if __name__ == "__main__":
    main()
