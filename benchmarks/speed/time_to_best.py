"""Stages until a search has found a trial within 1 % of the best of a recorded table.

    python -m benchmarks.speed.time_to_best

Three searches are replayed on `recorded.json`, with two lanes in virtual time: random search, Optuna with
ASHA whose trials share nothing, and this project's (the same Optuna and ASHA, stages shared). A proposal
is answered by the nearest recorded trial of its strategy that has not been answered with yet. Costs are
stages.
"""

from __future__ import annotations

import heapq
import json
import math
import random
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ray.tune.experiment import Trial

from benchmarks.speed.measure import Result, say
from benchmarks.speed.recorded import FILE, ORDERINGS, space
from benchmarks.speed.small import write_ceiling
from search.tuning.rung_score import stage_scores
from search.tuning.searcher import StudySearcher
from search.tuning.stage_scheduler import StageScheduler
from search.tuning.stopping import SuccessiveHalving

SEEDS, LANES, NEAR = 50, 2, 0.01
PATHS = list(dict.fromkeys(o[:i] for o in ORDERINGS for i in range(1, len(o) + 1)))
STAGES, CONFIGURED = len(PATHS), sum(map(len, ORDERINGS))
COSTS = [
    1 if number and path[:-1] == PATHS[number - 1] else len(path)
    for number, path in enumerate(PATHS)
]
"""Stages that a trial which shares nothing trains for each path: at a branch, all from the start again."""
FIRST_RUNG = len(ORDERINGS[0])
Table = Sequence[Mapping[str, Any]]
Spent = tuple[float, float]
"""Stages until the mark, and regret after `BUDGET` trials."""


def main() -> None:
    """Replay, and print two lines."""
    table = json.loads(FILE.read_text())
    joint = table.pop()
    best = max(trial["final_average"] for trial in table)
    scale = dict(joint["seen"][-1])
    spent = {
        name: [way(table, best, scale, seed) for seed in range(SEEDS)]
        for name, way in {"random": at_random, "asha": unshared, "ours": shared}.items()
    }
    # What a search trains beside its samples: joint tuning, for the scale by which trials are stopped, and
    # in ours plain tuning, too.
    beside = {"random": 0, "asha": len(ORDERINGS[0]), "ours": len(ORDERINGS[0]) + STAGES}
    spent = {n: [(c + beside[n], regret) for c, regret in runs] for n, runs in spent.items()}
    medians = {name: statistics.median(c for c, _ in runs) for name, runs in spent.items()}
    regrets = {name: statistics.fmean(r for _, r in runs) for name, runs in spent.items()}
    say(f"stages to within {NEAR:.0%}: {medians}; regret {regrets}")
    missed = {name: sum(c == math.inf for c, _ in runs) for name, runs in spent.items()}
    taus = {f"tau_rung_{s}": tau(table, scale, s) for s in (FIRST_RUNG, 2 * FIRST_RUNG)}
    for other, target in (("random", 2.5), ("asha", 1.4)):
        both = zip(spent[other], spent["ours"], strict=True)
        pairs = [a / b for (a, _), (b, _) in both if a < math.inf and b < math.inf]
        quartiles = statistics.quantiles(pairs, n=4)
        Result(
            f"time to best over {other}",
            medians[other] / medians["ours"],
            quartiles[0],
            quartiles[2],
            f">= {target}",
            "times fewer stages, medians; quartiles of paired seeds",
            {"trials": len(table), "seeds": SEEDS, "stages": medians, "regret": regrets, **taus}
            | {"never_found": missed},
        ).tell()


def tau(table: Sequence[Mapping[str, Any]], scale: Mapping[str, float], stage: int) -> float:
    """Return Kendall's tau-b between the score at a rung and the final average."""
    at = np.array([statistics.fmean(stage_scores(t["seen"][:stage], scale)) for t in table])
    end = np.array([trial["final_average"] for trial in table])
    signs = [np.sign(np.subtract.outer(v, v))[np.triu_indices(len(v), 1)] for v in (at, end)]
    ties = math.prod(math.sqrt(float((s != 0).sum())) for s in signs)
    return float((signs[0] * signs[1]).sum() / ties)


# Three ways to search ----------------------------------------------------------------------------


def at_random(
    table: Sequence[Mapping[str, Any]], best: float, scale: Any, seed: int
) -> tuple[float, float]:
    """Whole trials in a random order; stages until the mark, and regret when as many trials are done."""
    order = random.Random(seed).sample(range(len(table)), len(table))
    count = next(n for n, i in enumerate(order, 1) if near(table[i]["final_average"], best))
    reached = max(table[i]["final_average"] for i in order[:BUDGET])
    return count * CONFIGURED, best - reached


def unshared(table: Table, best: float, scale: Any, seed: int) -> Spent:
    """Optuna and ASHA; every stage that a trial walks through is trained."""
    return replayed(table, best, scale, seed, share=False)


def shared(table: Table, best: float, scale: Any, seed: int) -> Spent:
    """The same, and a stage that another trial has trained costs nothing."""
    return replayed(table, best, scale, seed, share=True)


BUDGET = 60
"""Trials after which regret is told."""


def near(value: float, best: float) -> bool:
    """Whether a trial is as good as found."""
    return value >= best * (1 - NEAR)


def replayed(
    table: Sequence[Mapping[str, Any]],
    best: float,
    scale: Mapping[str, float],
    seed: int,
    share: bool,
) -> tuple[float, float]:
    """Our searcher and scheduler on recorded trials; stages until the mark, and regret."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        write_ceiling(run, scale)
        searcher = StudySearcher(
            space(), [("final_average", "max")], run, seed=seed, samples=len(table), references={}
        )
        rule = SuccessiveHalving(FIRST_RUNG, STAGES, 2)
        halving = StageScheduler(rule, run, searcher.stopped_names)
        return Replay(table, best, searcher, halving, share).run()


class Replay:
    """Lanes in virtual time: a stage takes one unit, one from the store nothing."""

    def __init__(
        self,
        table: Sequence[Mapping[str, Any]],
        best: float,
        searcher: StudySearcher,
        halving: Any,
        share: bool,
    ) -> None:
        self.table, self.best = table, best
        self.searcher, self.halving, self.share = searcher, halving, share
        self.unused = set(range(len(table)))
        self.stored: set[str] = set()
        self.trained, self.reached, self.over = 0, 0.0, 0
        self.found: float | None = None
        self.regret = math.nan

    def run(self) -> tuple[float, float]:
        """Until the mark is reached and the budget of trials spent, or nothing is left."""
        lanes: list[tuple[float, int, Any]] = []
        for number in range(LANES):
            heapq.heappush(lanes, (0.0, number, self._begin(number)))
        count = LANES
        while lanes and (self.found is None or self.over < BUDGET):
            now, number, state = heapq.heappop(lanes)
            state, cost = self._step(state)
            if state is None and self.unused:
                state, number = self._begin(count), count
                count += 1
            if state is not None:
                heapq.heappush(lanes, (now + cost, number, state))
        return math.inf if self.found is None else self.found, self.regret

    def _begin(self, number: int) -> Any:
        given = self.searcher.suggest(f"t{number}")
        assert given is not None
        chosen = self._nearest(given["trial"]["strategy"])
        self.unused.discard(chosen)
        trial = Trial("replay", config={"name": given["name"]}, stub=True)
        self.halving.on_trial_add(None, trial)
        return {"id": f"t{number}", "which": chosen, "stage": 0, "trial": trial}

    def _nearest(self, wanted: Mapping[str, Any]) -> int:
        """The nearest unused trial, of the same strategy if there is one."""
        own = [i for i in self.unused if self.table[i]["strategy"]["name"] == wanted["name"]]

        def apart(index: int) -> float:
            strategy = self.table[index]["strategy"]
            domains = space().open["strategy"].branches[strategy["name"]]
            return sum(
                (_place(domains[k], v) - _place(domains[k], wanted[k])) ** 2
                for k, v in strategy.items()
                if k != "name" and k in wanted
            )

        return min(own or self.unused, key=lambda i: (apart(i), i))

    def _step(self, state: dict[str, Any]) -> tuple[dict[str, Any] | None, float]:
        trial = self.table[state["which"]]
        key = trial["keys"][state["stage"]]
        cost = float(key not in self.stored) if self.share else float(COSTS[state["stage"]])
        state["stage"] += 1
        self.stored.add(key)
        self.trained += int(cost)
        done = state["stage"] == STAGES
        result = {
            "stages_done": state["stage"],
            "seen": trial["seen"][: state["stage"]],
            "training_iteration": state["stage"],
            "state": "finished" if done else "running",
            "final_average": trial["final_average"],
        }
        decision = self.halving.on_trial_result(None, state["trial"], result)
        if not done and decision != self.halving.STOP:
            return state, cost
        self.over += 1
        if done:
            self.reached = max(self.reached, trial["final_average"])
            self.halving.on_trial_complete(None, state["trial"], result)
            if self.found is None and near(trial["final_average"], self.best):
                self.found = self.trained
        if self.over == BUDGET:
            self.regret = self.best - self.reached
        self.searcher.on_trial_complete(state["id"], result)
        return None, cost


def _place(domain: Any, value: float) -> float:
    """Where a value lies in its domain, from 0 to 1."""
    low, high, at = domain.low, domain.high, value
    if domain.log:
        low, high, at = math.log(low), math.log(high), math.log(at)
    return (at - low) / (high - low)


if __name__ == "__main__":
    main()
