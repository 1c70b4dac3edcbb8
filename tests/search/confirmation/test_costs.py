"""Costs that decide among finalists that are not told apart."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from confirmations import confirmation

from search.confirmation.costs import measure_costs
from search.confirmation.results import Confirmation, cell_name
from search.confirmation.sentences import verdict_sentences
from search.confirmation.verdict import judge
from trainables.store.records import ScoreRecord
from trainables.store.stage_store import StageStore
from trainables.trial_record import ScoredCell

HIGHER, LOWER = [0.45, 0.47, 0.44, 0.46, 0.48], [0.46, 0.45, 0.46, 0.44, 0.48]
SCORES = {"0000": HIGHER, "0001": LOWER, "finetune": [0.20, 0.22, 0.19, 0.21, 0.23]}


def costing(metrics: Mapping[str, Mapping[str, Sequence[float]]]) -> Confirmation:
    """Return a tie between two finalists whose runs have costs: metric, finalist, a value a unit."""
    made = confirmation(SCORES)
    records = dict(made.records)
    for metric, of in metrics.items():
        for name, values in of.items():
            for unit, value in enumerate(values):
                cell = cell_name(unit, name, "validation")
                own = {**records[cell].metrics, metric: value}
                records[cell] = records[cell].model_copy(update={"metrics": own})
    return dataclasses.replace(made, records=records)


def said(made: Confirmation, preference: Any = None) -> str:
    found = judge(made, preference)
    return " ".join(verdict_sentences(found, made.plan))


SECONDS = {"train_seconds": {"0000": [20, 22, 21, 20, 21], "0001": [10, 12, 11, 10, 11]}}


def test_the_cheapest_in_training_is_recommended_and_the_leader_stays_named() -> None:
    made = costing(SECONDS)
    found = judge(made)
    assert (found.leader, found.recommended, found.rival) == ("0000", "0001", "0000")
    text = said(made)
    assert "replay (trial 0000) and ewc (trial 0001) are not told apart" in text
    assert (
        "Recommended among them: ewc (trial 0001), the cheapest in training (11 s a unit; "
        "replay (trial 0000) 21 s a unit)." in text
    )


def test_a_cheaper_one_that_is_not_close_to_the_leader_is_not_recommended() -> None:
    made = costing(SECONDS)
    cells = {cell_name(unit, "0001", "validation") for unit in range(5)}
    records = {
        name: one.model_copy(
            update={
                "metrics": {**one.metrics, "final_average": one.metrics["final_average"] - 0.009}
            }
        )
        if name in cells
        else one
        for name, one in made.records.items()
    }
    lower = dataclasses.replace(made, records=records)
    found = judge(lower)
    assert found.together == ("0000", "0001") and found.recommended == "0000"
    assert "by its mean: the others are not close enough to go by their training" in said(lower)


def test_the_mean_decides_where_it_is_preferred_or_costs_are_alike_or_unknown() -> None:
    assert judge(costing(SECONDS), "mean").recommended == "0000"
    assert "trial 0000), which has the highest mean" in said(costing(SECONDS), "mean")
    alike = costing({"train_seconds": {"0000": [20, 22, 21, 19, 21], "0001": [19, 23, 20, 20, 20]}})
    assert judge(alike).recommended == "0000"
    assert "by its mean, since their training costs about the same (21 s a unit)" in said(alike)
    unknown = confirmation(SCORES)
    assert judge(unknown).recommended == "0000"
    assert "since training is not compared: the runs of 0000 do not say it" in said(unknown)


def test_memory_is_what_is_stored_and_the_weights_that_grew() -> None:
    five = [1.0] * 5
    made = costing(
        {
            "stored_bytes": {"0000": [4e6 * one for one in five], "0001": [0.0] * 5},
            "added_parameters": {"0000": [0.0] * 5, "0001": [0.5e6 * one for one in five]},
        }
    )
    costs = measure_costs(made.preferring("memory"), ["0000", "0001"], 5)
    assert (costs.mean("0000"), costs.mean("0001")) == (4e6, 2e6)
    assert judge(made, "memory").recommended == "0001"
    assert "the cheapest in memory (2.00 MB beside the model;" in said(
        made.preferring("memory"), "memory"
    )


def test_latency_is_the_seconds_of_an_answer_in_the_store(tmp_path: Path) -> None:
    made, store = costing({}), StageStore(tmp_path / "stages")
    records = dict(made.records)
    for name, each in (("0000", 0.02), ("0001", 0.01)):
        for unit in range(5):
            cell, key = cell_name(unit, name, "validation"), f"{unit}{name}".rjust(40, "0")
            answers = ({"score": 1.0}, {"score": 0.0})
            store.put(
                key,
                ScoreRecord(task="a", split="validation", metric="exact_match", score=0.5,
                            predictions=answers, seconds=each * 2 * (1 + unit / 100)),
            )  # fmt: skip
            one = ScoredCell(ordering=1, stage=4, task="a", split="validation", key=key)
            records[cell] = records[cell].model_copy(update={"cells": (one,)})
    made = dataclasses.replace(made, records=records, run=tmp_path / "run")
    assert judge(made, "latency").recommended == "0001"
    assert "the cheapest in latency (10.2 ms an answer;" in said(
        made.preferring("latency"), "latency"
    )
    assert judge(dataclasses.replace(made, run=None), "latency").recommended == "0000"


def test_answers_of_experts_are_not_timed() -> None:
    made = confirmation(SCORES).preferring("latency")
    experts = made.plan.finalists[0].model_copy(update={"strategy": "eproj"})
    plan = made.plan.model_copy(update={"finalists": (experts, *made.plan.finalists[1:])})
    made = dataclasses.replace(made, plan=plan)
    assert "latency is not compared: 0000 answers by experts" in said(made)


@pytest.mark.parametrize("units", [1, 2])
def test_costs_of_few_units_are_told_apart_only_if_they_surely_differ(units: int) -> None:
    costs = measure_costs(costing(SECONDS), ["0000", "0001"], units)
    assert costs.cheapest()[0] == "0001"
    assert (len(costs.cheapest()) == 2) == (
        units == 1
    )  # two units with one and the same difference
