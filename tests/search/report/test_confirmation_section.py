"""The report's section on a confirmation: the screen's sentences and table, and its units as dots."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from confirmations import confirmation, written
from markupsafe import escape
from records import screen, write_run

from search.confirmation.answer import Spent, closing_lines, confirmation_spent, export_notes
from search.confirmation.verdict import judge
from search.report.confirmation import section, units_figure
from search.report.html import render, write_report
from search.report.terminal import show_results
from search.results.cautions import cautions
from search.results.outcome import read_outcome
from trainables.trial_record import StageCost

SCORES = {
    "0000": [0.45, 0.47, 0.44, 0.46, 0.48],
    "0001": [0.31, 0.33, 0.30, 0.30, 0.34],
    "finetune": [0.20, 0.22, 0.19, 0.21, 0.23],
    "joint": [0.56, 0.55, 0.58, 0.57, 0.54],
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = write_run(tmp_path / "run")
    written(confirmation(SCORES), folder)
    return folder


def test_the_report_says_what_the_screen_says(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show_results(run)
    screen = capsys.readouterr().out
    page = render("confirmation.html", read_outcome(run))
    found = section(read_outcome(run))
    assert found
    for text in [*found.verdict, *found.notes, *(cell for row in found.rows for cell in row)]:
        assert str(escape(text)) in page
        assert text in screen
    assert found.verdict[-1].startswith("replay (trial 0000) is best: final average 0.453")
    for caution in cautions(read_outcome(run)):
        assert f"<li>{escape(caution)}.</li>" in page and f"Note: {caution}." in screen
    assert page.count('class="strong"') == 1
    assert '<h2 id="confirmation">' in write_report(run).read_text()


def test_every_unit_is_a_dot_and_every_mean_a_line() -> None:
    made = confirmation(SCORES)
    figure = units_figure(made, judge(made))
    dots = {one.y[0]: list(one.x) for one in figure.data if one.mode == "markers"}  # type: ignore[attr-defined]
    assert dots["replay (trial 0000)"] == SCORES["0000"]
    assert len(dots) == 4
    lines = {one.y[0]: list(one.x) for one in figure.data if one.mode == "lines"}  # type: ignore[attr-defined]
    mean = judge(made).scores["0001"]
    assert lines["ewc (trial 0001)"] == [mean.low, mean.high]


def test_a_search_without_a_confirmation_says_how_to_get_one(tmp_path: Path) -> None:
    outcome = read_outcome(write_run(tmp_path / "run"))
    assert section(outcome) is None
    page = render("confirmation.html", outcome)
    assert f"python search/confirm.py {tmp_path / 'run'}" in page


def test_runs_that_are_missing_are_said(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    made = confirmation({"0000": [0.4], "finetune": [0.2], "joint": [0.5]}, units=5)
    written(made, folder)
    (missing, said) = closing_lines(made, judge(made))
    page = render("confirmation.html", read_outcome(folder))
    assert missing in page and said in page
    assert missing.startswith("Not finished: ")


def test_an_export_says_that_finetune_leads_the_confirmation(run: Path) -> None:
    assert export_notes(run, "0000") == []
    assert export_notes(run, "0001") == [
        "the confirmation recommends replay (trial 0000), not 0001"
    ]
    written(confirmation({"0000": SCORES["0001"], "finetune": SCORES["0000"]}), run)
    assert export_notes(run, "0000") == [
        "finetune leads the confirmation, and 0000 is surely behind it"
    ]
    assert export_notes(run, "0001") == [
        "finetune leads the confirmation, and 0001 was not confirmed"
    ]
    tie = [one + 0.001 * (-1) ** n for n, one in enumerate(SCORES["0000"])]
    written(confirmation({"0000": SCORES["0000"], "finetune": [t + 0.001 for t in tie]}), run)
    assert export_notes(run, "0000") == [
        "finetune leads the confirmation, and 0000 is not told apart from it"
    ]


def test_an_export_says_that_the_confirmation_cannot_tell(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    written(confirmation({"0000": [0.5], "finetune": [0.2]}, units=3), run)
    (line,) = export_notes(run, "0000")
    assert line.startswith("the confirmation cannot tell the finalists apart")


def test_the_stages_of_a_confirmation_are_in_the_report_of_costs(run: Path) -> None:
    made = confirmation({"0000": [0.5, 0.5, 0.5], "finetune": [0.2, 0.2, 0.2]})
    stage = StageCost(
        tasks=(("a",),), key="0", train_seconds=4.0, trained=True, waited=0.0, seconds={}
    )
    shared = stage.model_copy(update={"trained": False})
    records = {
        n: one.model_copy(update={"stages": (stage, shared)}) for n, one in made.records.items()
    }
    written(dataclasses.replace(made, records=records), run)
    spent = confirmation_spent(run)
    assert spent == Spent(6, 6, 24.0)  # the runs on the test split train nothing
    assert "Confirmation: 6 trained in 24 s, 6 taken from the store." in screen(run)
    assert "stages trained by the confirmation" in render("cost.html", read_outcome(run))


def test_two_tasks_are_not_said_to_have_fresh_orderings(run: Path) -> None:
    made = confirmation({"0000": [0.5, 0.6, 0.5], "finetune": [0.2, 0.2, 0.2]})
    few = made.plan.model_copy(update={"fresh_orderings": 0})
    written(dataclasses.replace(made, plan=few), run)
    assert "Confirmed on seeds (there are too few orderings) that chose nothing:" in screen(run)
    assert "seeds (there are too few orderings)" in render("confirmation.html", read_outcome(run))
