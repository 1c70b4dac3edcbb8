"""Choice by the first stages: from the records of a finished search, and as a search of them would."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from records import ORDERINGS, matrix, record, references, write_run
from toy import Toy, config, walked

from search import commands
from search.results.first_stages import (
    choose_by_first_stages,
    first_stages_lines,
    later_average,
    rows_after,
)
from search.results.outcome import Outcome, read_outcome
from trainables.metrics.score_matrix import ScoreMatrix
from trainables.metrics.summary import metrics_over_orderings
from trainables.panel import Panel

EARLY = [[0.1, 0.1, 0.1], [0.9, 0.1, 0.1], [0.8, 0.8, 0.1], [0.2, 0.3, 0.4]]
"""Scores of a trial that is good until the second stage, and bad after the third."""
LATE = [[0.1, 0.1, 0.1], [0.7, 0.1, 0.1], [0.6, 0.6, 0.1], [0.6, 0.6, 0.6]]


def scored(values: list[list[float]]) -> list[ScoreMatrix]:
    """Return the matrices of a trial that scores alike on each ordering."""
    rows = [
        [math.nan if j > t > 0 else s for j, s in enumerate(row, 1)] for t, row in enumerate(values)
    ]
    return [ScoreMatrix(ordering, rows) for ordering in ORDERINGS]  # type: ignore[arg-type]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return the folder of a search whose best trial is another after two stages."""
    trials = [
        *references(),
        record("0000", "replay", scored(LATE), knobs={"ratio": 0.1}),
        record("0001", "ewc", scored(EARLY), knobs={"strength": 1.0}),
        record(
            "0002", "ewc", [matrix(ORDERINGS[0], 0.9, 1), matrix(ORDERINGS[1], 0, 0, 0)], "stopped"
        ),
    ]
    return write_run(tmp_path / "run", trials)


@pytest.fixture
def outcome(run: Path) -> Outcome:
    return read_outcome(run)


def test_the_choice_is_by_the_scores_up_to_the_stage_alone(outcome: Outcome) -> None:
    assert outcome.best_trial == "0000"
    assert choose_by_first_stages(outcome, 2) == "0001"
    rows = {row["name"]: row for row in rows_after(outcome, 2)}
    assert rows["0001"]["final_average"] == pytest.approx(0.8)
    assert rows["0001"]["forgetting"] == pytest.approx(0.9 - 0.8)
    assert rows["0000"]["final_average"] == pytest.approx(0.6)
    # Two stages of 3.5 s in each of two orderings.
    assert rows["0001"]["train_seconds"] == pytest.approx(4 * 3.5)
    assert rows["0002"] == outcome.trials["0002"]


def test_both_choices_are_shown_on_whole_orderings(outcome: Outcome) -> None:
    lines = first_stages_lines(outcome, 2)
    assert lines[0] == "Chosen by the first 2 of 3 tasks (Lee et al. 2024):"
    assert (
        lines[1]
        == "  0001 (ewc): final average 0.800, forgetting 0.100 after 2 stages, optimistic: it chose"
    )
    # forgetting: (.9 - .2 + .8 - .3) / 2
    whole = "final average 0.300, forgetting 0.600; tasks after stage 2 end at 0.400"
    assert lines[2] == f"  on whole orderings: {whole}"
    assert lines[3] == "Chosen by whole orderings, so that its figures are optimistic:"
    best = "final average 0.600, forgetting 0.050; tasks after stage 2 end at 0.600"
    assert lines[4] == f"  0000 (replay): {best}"
    assert lines[5].startswith("The choice by the first 2 tasks is 0.300 behind in final average")


def test_two_equal_choices_are_said(tmp_path: Path) -> None:
    lines = first_stages_lines(read_outcome(write_run(tmp_path / "run")), 2)
    assert lines[-1] == "Both choose the same trial."
    assert lines[1].startswith("  0002 (replay)") and lines[4].startswith("  0002 (replay)")


def test_later_tasks_are_those_after_the_stage() -> None:
    one, other = (ScoreMatrix(o, [[0.0] * 3] * 3 + [row]) for o, row in zip(
        ORDERINGS, ([0.9, 0.5, 0.1], [0.9, 0.7, 0.3]), strict=True))  # fmt: skip
    assert later_average([one, other], 1) == pytest.approx((0.3 + 0.5) / 2)
    assert later_average([one, other], 2) == pytest.approx((0.1 + 0.3) / 2)


def test_orderings_that_begin_alike_count_once(tmp_path: Path) -> None:
    orderings = (("a", "b", "c", "d"), ("a", "b", "d", "c"), ("c", "d", "a", "b"))
    trials = [record("0000", matrices=[matrix(o, 0.8, 0.9) for o in orderings])]
    folder = write_run(tmp_path / "run", trials, panel=Panel(orderings))
    row = rows_after(read_outcome(folder), 2)[0]
    both = [matrix(o, 0.8, 0.9).after(2).final_average() for o in (orderings[0], orderings[2])]
    assert both[0] != both[1]
    assert row["final_average"] == pytest.approx(sum(both) / 2)


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        (
            "0",
            "--search-stages must be less than the 3 tasks of an ordering, and 1 at least, got 0",
        ),
        ("3", "got 3; 1 to 2 would do"),
        ("1", "at least 2 tasks for forgetting, got 1"),
    ],
)
@pytest.mark.parametrize("command", [commands.analyze, commands.export])
def test_stages_that_choose_nothing_are_one_clear_error(
    command: Callable[..., int], stages: str, message: str, run: Path, refused: Callable[..., str]
) -> None:
    error = refused(str(run), "--search-stages", stages, command=command, where=False)
    assert message in error
    assert not (run / "best.yaml").exists() and not (run / "report.html").exists()


def test_one_stage_chooses_where_the_objectives_allow_it(tmp_path: Path) -> None:
    trials = [record("0000", matrices=scored(LATE)), record("0001", matrices=scored(EARLY))]
    objectives = (("final_average", "max"),)
    found = read_outcome(write_run(tmp_path / "run", trials, objectives=objectives))
    assert choose_by_first_stages(found, 1) == "0001"


def test_scores_that_were_not_taken_are_one_clear_error(
    tmp_path: Path, refused: Callable[..., str]
) -> None:
    cheap = write_run(tmp_path / "run", panel=Panel(ORDERINGS, scoring="cheap"))
    error = refused(str(cheap), "--search-stages", "2", command=commands.export, where=False)
    assert 'scoring "cheap"); run.py --search-stages would score them' in error


@pytest.mark.parametrize("metric", ["stored_bytes", "intransigence"])
def test_metrics_of_whole_orderings_cannot_choose(
    metric: str, tmp_path: Path, refused: Callable[..., str]
) -> None:
    trials = [record("0000"), *references()]
    trials = [t.model_copy(update={"metrics": {**t.metrics, "stored_bytes": 7.0}}) for t in trials]
    folder = write_run(tmp_path / "run", trials)
    flags = ("--search-stages", "2", "--by", metric)
    error = refused(str(folder), *flags, command=commands.export, where=False)
    assert re.search(rf"known after 2 stages, and {metric} is not", error), error


def test_the_commands_say_and_export_the_choice(
    run: Path, refused: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert commands.analyze([str(run), "--search-stages", "2"]) == 0
    said = capsys.readouterr().out
    assert said.endswith("in final average, on these orderings and at one seed.\n")
    assert commands.analyze([str(run)]) == 0
    assert "Lee et al." not in capsys.readouterr().out
    assert commands.export([str(run), "--search-stages", "2"]) == 0
    assert yaml.safe_load((run / "best.yaml").read_text())["trial"] == "0001"
    assert commands.export([str(run), "--search-stages", "2", "--by", "train_seconds"]) == 0
    capsys.readouterr()
    both = ("--search-stages", "2", "--trial", "0000")
    assert "give one of them" in refused(str(run), *both, command=commands.export, where=False)


def test_a_search_of_first_stages_has_the_metrics_of_cut_matrices(toy: Toy, tmp_path: Path) -> None:
    """Compare the choice that `analyze --search-stages` computes with that of `run.py --search-stages`."""
    chosen = config({"name": "replay", "ratio": 0.3})
    orderings = (("hue", "light", "half"), ("light", "half", "hue"))
    whole = walked(toy.walk(chosen, tmp_path, *orderings))
    before = sum(stage.trained for stage in whole.stages)
    cut = walked(toy.walk(chosen, tmp_path, *(ordering[:2] for ordering in orderings)))
    assert before == 6 and not any(stage.trained for stage in cut.stages)
    assert cut.matrices() == [one.after(2) for one in whole.matrices()]
    expected = metrics_over_orderings([one.after(2) for one in whole.matrices()])
    assert {name: cut.metrics()[name] for name in expected} == pytest.approx(expected, nan_ok=True)
