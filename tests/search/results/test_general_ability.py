"""General ability in tables, on the terminal, in the report and beside a confirmation's verdict."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from confirmations import confirmation
from records import ORDERINGS, matrix, record, references, screen, write_run

from search.confirmation.answer import result_lines
from search.report.html import render
from search.report.terminal import chosen_lines
from search.results.cautions import cautions
from search.results.outcome import read_outcome
from search.results.tables import build_tables
from trainables.metrics.glossary import GENERAL_KL
from trainables.metrics.score_matrix import ScoreMatrix
from trainables.panel import Panel
from trainables.trial_record import TrialRecord

PANEL = Panel(ORDERINGS, general=("charts", "maps"))


def with_general(plain: ScoreMatrix, start: float, end: float) -> ScoreMatrix:
    """Return a matrix with two general tasks that go from `start` to `end`, of which maps has 0.1 less."""
    column = np.linspace(start, end, plain.stages + 1)
    values = np.column_stack([plain.values, column, column - 0.1])
    return ScoreMatrix(plain.tasks, values, general=PANEL.general)


def trial(name: str, kept: float, end: float, kl: float) -> TrialRecord:
    """Return a trial of replay whose general tasks begin at .8 and .7."""
    matrices = [with_general(matrix(o, 0.8, kept), 0.8, end) for o in ORDERINGS]
    made = record(name, "replay", matrices, knobs={"ratio": 0.3})
    drifts = [ScoreMatrix(m.tasks, m.values * 0 + kl, general=m.general) for m in matrices]
    return made.model_copy(
        update={
            "metrics": {**made.metrics, GENERAL_KL: kl},
            "extra_matrices": {GENERAL_KL: tuple(drifts)},
        }
    )


def folder(root: Path, trials: Sequence[TrialRecord]) -> Path:
    return write_run(root / "run", trials, PANEL)


@pytest.fixture
def lossy(tmp_path: Path) -> Path:
    """Write a search whose best trial keeps its tasks and loses general ability."""
    return folder(tmp_path, [trial("0000", 0.99, 0.3, 2.5), trial("0001", 0.6, 0.79, 0.25)])


def test_every_table_has_the_metrics(lossy: Path) -> None:
    outcome = read_outcome(lossy)
    row = outcome.trials["0000"]
    assert (row["general_average"], row["general_drift"]) == pytest.approx((0.25, 0.5))
    assert row[GENERAL_KL] == outcome.strategies["replay"][GENERAL_KL] == 2.5
    assert outcome.strategies["replay"]["general_drift"] == pytest.approx(0.5)
    cells = build_tables(outcome.run).cells
    (cell,) = [
        c for c in cells
        if (c["trial"], c["ordering"], c["stage"], c["task"]) == ("0000", 1, 3, "maps")
    ]  # fmt: skip
    assert (cell["score"], cell[GENERAL_KL]) == pytest.approx((0.2, 2.5))


def test_the_terminal_has_a_table_of_them_and_says_what_is_lost(lossy: Path) -> None:
    said = screen(lossy)
    assert re.search(r"general ability +general average +general drift +general kl", said)
    assert re.search(r"replay +0\.250 +0\.500 +2\.500", said)
    assert "On charts, maps, which nothing trains." in said
    assert all(len(line) <= 100 for line in said.splitlines()[:12])
    lost = (
        "0000 loses general ability: 0.750 before the first stage, 0.250 after the last one, over "
        "charts, maps, which nothing trains"
    )
    assert f"Note: {lost}." in said
    assert f"note        {lost}" in chosen_lines(read_outcome(lossy), "0000")
    assert not any("general ability" in line for line in chosen_lines(read_outcome(lossy), "0001"))


def test_the_report_has_columns_of_them_and_marks_their_tasks(lossy: Path) -> None:
    outcome = read_outcome(lossy)
    for section in ("strategies.html", "trials.html"):
        page = render(section, outcome)
        assert page.count("general drift") == page.count("general kl") == 1, section
    assert "charts (general)" in render("matrices.html", outcome)
    assert "mean_g (a[0][g] - a[T][g])" in render("glossary.html", outcome)


def test_a_search_without_them_says_nothing_of_them(tmp_path: Path) -> None:
    plain = write_run(tmp_path / "run")
    assert "general" not in screen(plain)
    outcome = read_outcome(plain)
    assert not any("general" in line for line in cautions(outcome))
    for section in ("strategies.html", "trials.html", "matrices.html"):
        assert "general" not in render(section, outcome)


def test_reference_runs_lose_ability_without_a_note(tmp_path: Path) -> None:
    """The note is on the trial that would be exported alone."""
    outcome = read_outcome(folder(tmp_path, [*references(), trial("0000", 0.99, 0.79, 0.01)]))
    assert not any("general ability" in line for line in cautions(outcome))


def test_a_confirmation_shows_them_on_the_test_split_with_intervals() -> None:
    made = confirmation({"0000": [0.8, 0.7, 0.75], "finetune": [0.4, 0.5, 0.3]})
    assert not any("general" in line for line in result_lines(made))
    drifts, records = {"unit1": 0.1, "unit2": 0.2, "unit3": 0.6}, {}
    for name, one in made.records.items():
        drift = drifts[name.partition("-")[0]] * (1 if name.endswith("test") else 100)
        further = {"general_average": 0.7 - drift, "general_drift": drift, GENERAL_KL: None}
        kept = further if "0000" in name else {}
        records[name] = one.model_copy(update={"metrics": {**one.metrics, **kept}})
    *_, head, row = result_lines(dataclasses.replace(made, records=records))
    assert head.split("  ")[0] == "general tasks, test"
    mean, error = 0.3, math.sqrt((0.2**2 + 0.1**2 + 0.3**2) / 2 / 3)
    half = 4.302653 * error  # Student's t, two degrees of freedom
    assert row.startswith("replay (trial 0000)")
    assert f"{mean:.3f} ({mean - half:.3f} to {mean + half:.3f})" in row
    assert row.endswith("-")
