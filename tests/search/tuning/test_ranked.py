"""Cuts and medians found without going through all trials, against those that do."""

from __future__ import annotations

import math
import pickle
import random
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, MedianStoppingRule

from search.tuning.ranked import Field, Ranked
from search.tuning.stopping import SCORE, STAGES, OverStages, StageHalving, StageMedian
from trainables.trainable import write_record


@pytest.mark.parametrize("share", [0.5, 2 / 3, 0.75])
def test_a_percentile_is_numpys_to_the_last_bit(share: float) -> None:
    draw, ranked = random.Random(0), Ranked()
    assert not ranked and ranked.percentile(share * 100) is None
    for number in range(200):
        ranked[str(draw.randrange(80))] = (
            math.nan if number % 9 == 0 else draw.choice([0.5, draw.random()])
        )
        scores = list(ranked.values())
        if not all(map(math.isnan, scores)):
            assert ranked.percentile(share * 100) == np.nanpercentile(scores, share * 100)
    again = pickle.loads(pickle.dumps(ranked))
    assert again.percentile(share * 100) == ranked.percentile(share * 100) and list(again) == list(
        ranked
    )


def test_the_middle_has_the_median_of_all_others() -> None:
    draw, field, scores = random.Random(0), Field(), {}
    for number in range(60):
        scores[number] = draw.choice([0.5, draw.random(), math.nan])
        field.add(number, scores[number])
        others = [s for n, s in scores.items() if n != number and not math.isnan(s)]
        found = [scores[n] for n in field.middle(but=number)]
        assert len(found) == len(others) or (3 <= len(found) <= 4 and len(others) > 2)
        if others:
            assert statistics.median(found) == statistics.median(others)


class StockHalving(StageHalving):
    """With the dicts and percentiles of the stock rule."""

    def __init__(self, *args: int) -> None:
        super().__init__(*args)
        AsyncHyperBandScheduler.__init__(
            self,
            time_attr=STAGES,
            metric=SCORE,
            mode="max",
            grace_period=2,
            max_t=8,
            reduction_factor=2,
        )


class StockMedian(StageMedian):
    """That goes through all trials."""

    _trials_beyond_time = MedianStoppingRule._trials_beyond_time


@pytest.mark.parametrize(
    ("ours", "stock"),
    [
        (lambda: StageHalving(2, 8, 2), lambda: StockHalving(2, 8, 2)),
        (lambda: StageMedian(2), lambda: StockMedian(2)),
    ],
)
def test_the_same_trials_are_stopped_as_by_the_stock_rule(
    ours: Any, stock: Any, tmp_path: Path
) -> None:
    reached = [{"tasks": ["a"], "values": [[1.0]]}]
    write_record(tmp_path / "trials", {"name": "joint", "state": "finished", "orderings": reached})
    decisions = []
    for make in (ours, stock):
        draw, rule, found = random.Random(1), make(), []
        rule.over(tmp_path, ("joint",), set())
        assert isinstance(rule, OverStages)
        # Four at once, in turns, as lanes have them.
        running: list[tuple[Any, list[Any]]] = []
        for number in range(80):
            trial = Trial("simulated", config={"name": f"{number:04d}"}, stub=True)
            rule.on_trial_add(None, trial)
            running.append((trial, []))
            while len(running) == 4 or (number == 79 and running):
                trial, seen = running.pop(0)
                seen.append({"a": round(draw.random(), 2)})
                result = {"seen": seen, STAGES: len(seen), "training_iteration": len(seen)}
                found.append((len(seen), rule.on_trial_result(None, trial, result)))
                if found[-1] == (len(seen), rule.CONTINUE) and len(seen) < 8:
                    running.append((trial, seen))
        decisions.append(found)
    assert decisions[0] == decisions[1]
    assert 10 < sum(decision == "STOP" and stage < 8 for stage, decision in decisions[0]) < 75
