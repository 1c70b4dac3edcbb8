"""Ties and little learning on the front, and the dependence of a panel's orderings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from records import ORDERINGS, matrix, record, references, sampled, screen, write_run

from search.report.html import render
from search.results.front_marks import front_marks
from search.results.outcome import read_outcome
from search.results.panel_notes import ordering_correlations, panel_note, shared_stages
from trainables.panel import Panel


def test_ties_and_little_learning_are_marked_on_the_screen_and_in_the_report(
    tmp_path: Path,
) -> None:
    tie = record("0007", "replay", [matrix(o, 0.82, 0.95) for o in ORDERINGS])
    lazy = record("0009", "replay", [matrix(o, 0.21, 1.0) for o in ORDERINGS])
    folder = write_run(tmp_path / "run", [*references(), *sampled(), tie, lazy])
    outcome = read_outcome(folder)
    marks = front_marks(outcome)
    assert marks["0002"] == "ties with 0007" and marks["0007"] == "ties with 0002"
    assert marks["0009"] == "learns little"
    assert "0001" not in marks
    text = screen(folder)
    assert "(ties with 0007)" in text and "(learns little)" in text
    page = render("front.html", outcome)
    assert ">ties with 0007<" in page and ">learns little<" in page


@pytest.mark.parametrize(
    ("orderings", "shared"),
    [
        (("abc", "cab"), 0),
        (("abc", "acb"), 2),
        (("abc", "acb", "bac"), 2),
        (("abcd", "abdc"), 4),
    ],
)
def test_shared_stages_are_those_that_another_ordering_begins_with(
    orderings: tuple[str, ...], shared: int
) -> None:
    assert shared_stages([tuple(one) for one in orderings]) == shared


def test_the_correlation_is_that_of_the_finished_trials_finals(tmp_path: Path) -> None:
    learned = {"0000": (0.8, 0.7), "0001": (0.6, 0.6), "0002": (0.7, 0.72), "0003": (0.5, 0.4)}
    trials = [
        record(name, "ewc", [matrix(o, one, 0.9) for o, one in zip(ORDERINGS, both, strict=True)])
        for name, both in learned.items()
    ]
    stopped = record("0004", "ewc", state="stopped")
    outcome = read_outcome(write_run(tmp_path / "run", [*references()[1:], *trials, stopped]))
    found, count = ordering_correlations(outcome)
    finals = np.array([[m.final_average() for m in one.matrices] for one in trials]).T
    assert found == [pytest.approx(np.corrcoef(finals)[0, 1])]
    assert count == 4
    assert panel_note(outcome) == [
        "Orderings share 0 of 6 stages: the deviation over them is no interval.",
        f"Their final averages correlate by {found[0]:.2f} over 4 finished trials.",
    ]
    assert "correlate by" in screen(tmp_path / "run")
    assert "correlate by" in render("strategies.html", outcome)


def test_few_trials_or_one_ordering_have_no_correlation(tmp_path: Path) -> None:
    few = read_outcome(write_run(tmp_path / "few", references()))
    assert len(panel_note(few)) == 1
    panel = Panel(ORDERINGS[:1])
    trials = [record(f"000{n}", "ewc", [matrix(ORDERINGS[0], 0.5, 0.9)]) for n in range(5)]
    assert panel_note(read_outcome(write_run(tmp_path / "one", trials, panel))) == []


def test_trials_that_all_end_alike_have_no_correlation(tmp_path: Path) -> None:
    trials = [record(f"000{n}", "ewc") for n in range(5)]
    assert ordering_correlations(read_outcome(write_run(tmp_path / "run", trials))) == ([], 5)
