"""Cautions that stand beside the figure of the best trial."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from records import ORDERINGS, matrix, record, references, sampled, screen, write_run
from toy import Toy

from search.results.cautions import cautions, end_of_range, little_learned, validation_sizes
from search.results.outcome import read_outcome


def test_the_figure_that_chose_a_trial_is_called_optimistic(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    (line,) = [line for line in cautions(read_outcome(folder)) if "optimistic" in line]
    assert "it chose the trial among" in line and "at seed" in line
    assert f"python search/confirm.py {folder}" in screen(folder)


def test_a_front_member_that_learns_little_is_named(tmp_path: Path) -> None:
    lazy = record("0009", "replay", [matrix(o, 0.21, 1.0) for o in ORDERINGS])
    outcome = read_outcome(write_run(tmp_path / "run", [*references(), *sampled(), lazy]))
    assert "0009" in outcome.front
    (line,) = little_learned(outcome)
    assert line.startswith("0009 is on the front, and learns little: 0.")


def test_a_small_validation_split_is_named(tmp_path: Path) -> None:
    outcome = read_outcome(write_run(tmp_path / "run"))
    lines = cautions(outcome, {"a": 16, "b": 1000})
    assert any(line.startswith("a: 16 validation examples") for line in lines)
    assert not any(line.startswith("b: 1000") for line in lines)


def test_tasks_learned_surely_worse_than_by_finetune_are_named(tmp_path: Path) -> None:
    worse = record("0005", "replay", [matrix(o, 0.68, 1.0) for o in ORDERINGS])
    outcome = read_outcome(write_run(tmp_path / "run", [*references(), worse]))

    def named(count: int) -> list[str]:
        sizes = dict.fromkeys(ORDERINGS[0], count)
        return [line for line in cautions(outcome, sizes) if line.endswith("with finetune")]

    assert len(named(400)) == len(ORDERINGS[0])  # .12 less, which 400 answers tell
    assert named(60) == []


def test_cautions_speak_of_the_trial_that_is_recommended(tmp_path: Path) -> None:
    worse = record("0005", "replay", [matrix(o, 0.3, 1.0) for o in ORDERINGS])
    outcome = read_outcome(write_run(tmp_path / "run", [*references(), *sampled(), worse]))
    assert not any("with finetune" in line for line in cautions(outcome))
    assert any("with finetune" in line for line in cautions(outcome, chosen="0005"))


@pytest.mark.parametrize(
    ("domain", "value", "end"),
    [
        (FloatDistribution(0.0, 1.0), 0.0, "lower"),
        (FloatDistribution(0.0, 1.0), 0.99, "upper"),
        (FloatDistribution(0.0, 1.0), 0.5, None),
        (FloatDistribution(1.0, 1e6, log=True), 9e5, "upper"),
        (FloatDistribution(1.0, 1e6, log=True), 1e5, None),
        (IntDistribution(2, 64, log=True), 2, "lower"),
        (IntDistribution(4, 4), 4, None),
        (CategoricalDistribution(["a", "b"]), "a", None),
        (CategoricalDistribution([8, 32]), 8, None),  # of two, either one is an end
        (CategoricalDistribution([64, 8, 32]), 8, "lower"),
        (CategoricalDistribution([64, 8, 32]), 64, "upper"),
        (CategoricalDistribution([64, 8, 32]), 32, None),
        (CategoricalDistribution([False, True]), True, None),
    ],
)
def test_ends_of_ranges(domain: object, value: object, end: str | None) -> None:
    assert end_of_range(domain, value) == end


def test_sizes_are_those_of_the_benchmark_while_it_is_there(toy: Toy, tmp_path: Path) -> None:
    outcome = read_outcome(write_run(tmp_path / "run"))
    assert validation_sizes(outcome) == {}
    plan = outcome.run.plan
    there = plan.model_copy(
        update={
            "benchmark": plan.benchmark.model_copy(update={"path": str(toy.benchmark)}),
            "panel": replace(plan.panel, orderings=(("hue", "light"),)),
        }
    )
    run = replace(outcome.run, plan=there)
    assert validation_sizes(replace(outcome, run=run)) == {"hue": 10, "light": 10}
