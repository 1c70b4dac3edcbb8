"""Uncertainty by the examples scored: a bootstrap over stored answers."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from confirmations import confirmation
from records import write_run
from toy import Toy

from search.confirmation.answer import result_lines
from search.confirmation.results import Confirmation, cell_name
from search.results import example_bootstrap as examples
from search.results.example_bootstrap import ExampleSpread, example_spread, image_groups, resampled
from tasks import load_benchmark
from trainables.metrics.score_matrix import ScoreMatrix
from trainables.store.records import ScoreRecord
from trainables.store.stage_store import StageStore
from trainables.trial_record import ScoredCell

TASKS = ("hue", "light", "half")
RIGHT = {"0000": 0.8, "0001": 0.6, "finetune": 0.3}
"""Share of right answers of each finalist."""


@pytest.fixture
def answered(toy: Toy, tmp_path: Path) -> Confirmation:
    """Return a confirmation of three units on the toy, whose test answers lie in the store."""
    run, store, rng = tmp_path / "run", StageStore(tmp_path / "stages"), np.random.default_rng(0)
    write_run(run, benchmark={"name": "toy", "path": str(toy.benchmark / "benchmark.yaml")})
    made = confirmation({name: [0.5, 0.5, 0.5] for name in RIGHT})
    records = dict(made.records)
    for number, name in enumerate(RIGHT):
        for unit in range(3):
            cells, row = [], []
            for place, task in enumerate(TASKS):
                key = f"{number}{unit}{place}".rjust(40, "a")
                right = (rng.random(10) < RIGHT[name]).astype(float).tolist()
                answers = tuple({"id": f"{task}-{n}", "score": one} for n, one in enumerate(right))
                score = float(np.mean(right))
                record = ScoreRecord(task=task, split="test", metric="exact_match", score=score,
                                     predictions=answers)  # fmt: skip
                store.put(key, record)
                cells.append(ScoredCell(ordering=1, stage=3, task=task, split="test", key=key))
                row.append(score)
            cell = cell_name(unit, name, "test")
            matrix = ScoreMatrix.from_rows(TASKS, {3: dict(zip(TASKS, row, strict=True))})
            change = {"cells": tuple(cells), "matrices": (matrix,)}
            change["metrics"] = {"final_average": float(np.mean(row))}
            records[cell] = records[cell].model_copy(update=change)
    return dataclasses.replace(made, records=records, run=run)


def test_the_figure_and_its_lead_are_those_of_the_test_split(answered: Confirmation) -> None:
    found = example_spread(answered, "0000", "0001", 3)
    assert isinstance(found, ExampleSpread) and found.lead
    means = [
        np.mean([answered.score(unit, name, "test") for unit in range(3)])
        for name in ("0000", "0001")
    ]
    assert found.score.estimate == pytest.approx(means[0])
    assert found.lead.estimate == pytest.approx(means[0] - means[1])
    assert found.score.low < found.score.estimate < found.score.high
    assert (found.examples, found.clusters) == (30, 30)
    assert example_spread(answered, "0000", "0001", 3) == found  # the same draw
    alone = example_spread(answered, "0000", "", 3)
    assert isinstance(alone, ExampleSpread) and alone.lead is None


def test_the_line_stands_under_the_table(answered: Confirmation) -> None:
    (line,) = [one for one in result_lines(answered) if one.startswith("With other test examples")]
    assert "by a bootstrap of 30 images with 30 questions; more " in line


def test_lost_and_damaged_answers_leave_it_out_with_a_word(answered: Confirmation) -> None:
    assert answered.run is not None
    (record,) = [p for p in answered.run.parent.rglob(f"{'000'.rjust(40, 'a')}.json")]
    record.write_text(record.read_text().replace("exact_match", "exact_match "))
    assert example_spread(answered, "0000", "0001", 3) == "stored answers are missing"
    assert isinstance(example_spread(answered, "0001", "", 3), ExampleSpread)
    assert any("not known: stored answers" in line for line in result_lines(answered))


def test_metrics_that_are_no_mean_over_answers_are_left_out(answered: Confirmation) -> None:
    plan = answered.plan.model_copy(update={"metric": "forgetting"})
    said = example_spread(dataclasses.replace(answered, plan=plan), "0000", "0001", 3)
    assert said == "only final average is a mean over answers"


def test_data_that_are_gone_leave_it_out_with_a_word(answered: Confirmation, toy: Toy) -> None:
    assert answered.run is not None
    write_run(answered.run, benchmark={"name": "gone", "path": "/nowhere/benchmark.yaml"})
    assert "test data are not here" in str(example_spread(answered, "0000", "0001", 3))


def test_questions_on_one_image_are_drawn_together(toy: Toy) -> None:
    groups = image_groups(load_benchmark(str(toy.benchmark)), "hue")
    assert len(groups) == len(set(groups)) == 10
    scores = {"a": np.repeat([0.0, 1.0, 1.0, 0.0, 1.0], 4)}  # four questions on each of five images
    alone = resampled(scores, {"a": list(range(20))})
    together = resampled(scores, {"a": np.repeat(range(5), 4).tolist()})
    assert together.mean() == pytest.approx(0.6, abs=0.02)
    assert together.std() == pytest.approx(2 * alone.std(), rel=0.1)


def test_the_bootstrap_covers_the_figure_on_other_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples, "RESAMPLES", 500)
    rng, covered = np.random.default_rng(0), []
    for _ in range(400):
        scores = {task: (rng.random(100) < 0.6).astype(float) for task in TASKS}
        drawn = resampled(scores, {task: list(range(100)) for task in TASKS})
        low, high = np.percentile(drawn, [2.5, 97.5])
        covered.append(low <= 0.6 <= high)
    assert 0.92 <= np.mean(covered) <= 0.98
