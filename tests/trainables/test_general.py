"""General tasks: scored before the first stage and after others, and never learned."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import scribe as scribes
from lively import NAMES, lively
from scribe import Scribe, alike
from toy import config

from spaces.errors import InputError
from trainables.metrics.glossary import GENERAL_KL, OF_GENERAL, WITH_REFERENCE
from trainables.metrics.score_matrix import CONTINUAL_METRICS, ScoreMatrix
from trainables.metrics.summary import summary, summary_names
from trainables.panel import AT_THE_END, SCORING, Panel
from trainables.store.stage_store import StageStore
from trainables.trial_record import TrialRecord

NAN = math.nan
ORDERINGS = (("a", "b"), ("b", "a"))
PLAIN = Panel(ORDERINGS)
PANEL = dataclasses.replace(PLAIN, general=("c", "d"))


@pytest.fixture
def scribe(tmp_path: Path) -> Scribe:
    # Only of tasks that are learned: to embed another one would be an error.
    return Scribe(StageStore(tmp_path), {t: alike([1.0, ord(t) - 98.0]) for t in "ab"})


# Their scores ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scoring", "middle"), [("seen", "acd"), ("next", "abcd"), ("all", "abcd"), ("cheap", "ab")]
)
def test_they_are_scored_before_the_first_stage_and_after_every_one_unless_it_is_to_be_cheap(
    scoring: str, middle: str
) -> None:
    panel = dataclasses.replace(PANEL, scoring=scoring)
    paths = [(), (("a",),), (("a",), ("b",))]
    found = ["".join(panel.scored_tasks(config(), path)) for path in paths]
    assert found == ["abcd", middle, "abcd"]
    assert panel.scored_tasks(config("joint"), (("a", "b"),)) == ["a", "b", "c", "d"]


def test_a_confirmation_scores_them_where_drift_needs_it(scribe: Scribe) -> None:
    panel = dataclasses.replace(PANEL, orderings=ORDERINGS[:1], scoring=AT_THE_END)
    paths = [(), (("a",),), (("a",), ("b",))]
    found = ["".join(panel.scored_tasks(config(), path)) for path in paths]
    assert found == ["cd", "", "abcd"]
    metrics = scribes.run_trial(config(), scribe, panel).metrics()
    assert metrics["general_drift"] == pytest.approx(0)  # the scribe's score of tasks never learned


def test_every_schedule_scores_as_it_does_without_them() -> None:
    for scoring in (*SCORING, AT_THE_END):
        given, plain = (dataclasses.replace(p, scoring=scoring) for p in (PANEL, PLAIN))
        for path in ((), (("a",),), (("a",), ("b",))):
            scored = given.scored_tasks(config(), path)
            assert [t for t in scored if t in "ab"] == plain.scored_tasks(config(), path)


@pytest.mark.parametrize("name", NAMES)
def test_the_stages_and_scores_of_other_tasks_keep_their_keys(name: str, scribe: Scribe) -> None:
    given, plain = (scribes.lineage(lively(name), scribe, panel) for panel in (PANEL, PLAIN))
    for path in ((), *PANEL.paths(lively(name))):
        assert given.key(path) == plain.key(path)
        assert given.kept(path) == plain.kept(path)
        for task in "ab":
            assert given.scored(path, task) == plain.scored(path, task)


def test_their_scores_have_keys_of_their_own_for_they_hold_more(scribe: Scribe) -> None:
    learned = scribes.lineage(config(), scribe, Panel((("a", "b", "c", "d"),)))
    general = scribes.lineage(config(), scribe, PANEL)
    assert learned.key((("a",),)) == general.key((("a",),))
    assert learned.scored((("a",),), "a") == general.scored((("a",),), "a")
    assert learned.scored((("a",),), "c") != general.scored((("a",),), "c")


@pytest.mark.parametrize("name", NAMES)
def test_no_strategy_learns_keeps_or_embeds_them(name: str, scribe: Scribe) -> None:
    found = scribes.run_trial(lively(name), scribe, PANEL)
    assert scribe.jobs
    for job in scribe.jobs:
        learned = {*job.tasks, *job.context.old}
        kept = {task for task, _ in (*job.to_consolidate, *job.embed)}
        answering = {task for expert in job.experts for task in expert.tasks}
        assert not {"c", "d"} & (learned | kept | answering)
        assert job.general == ("c", "d") or not job.score
    assert all("c" not in row and "d" not in row for row in found.outcome.seen_scores())
    assert {"c", "d"} <= {cell.task for cell in found.outcome.cells()}


# Their metrics -----------------------------------------------------------------------------------

MATRIX = ScoreMatrix(
    ("a", "b"),
    np.array(
        [
            [0.1, 0.2, 0.9, 0.7, 0.5],
            [0.8, NAN, NAN, 0.9, 0.1],
            [0.5, 0.6, 0.6, 0.2, 0.4],
        ]
    ),
    initial=("i",),
    general=("c", "d"),
)
WITHOUT = ScoreMatrix(("a", "b"), MATRIX.values[:, :3], initial=("i",))


def test_each_metric_is_its_formula_on_a_matrix_written_by_hand() -> None:
    found = summary(MATRIX)
    assert found["general_average"] == pytest.approx((0.2 + 0.4) / 2)
    assert found["general_drift"] == pytest.approx(((0.7 - 0.2) + (0.5 - 0.4)) / 2)
    gained = ScoreMatrix(("a",), np.array([[0.1, 0.2], [0.9, 0.5]]), general=("c",))
    assert gained.general_drift() == pytest.approx(0.2 - 0.5)


def test_all_other_metrics_are_those_without_them() -> None:
    found, plain = summary(MATRIX), summary(WITHOUT)
    assert set(found) - set(plain) == set(OF_GENERAL)
    for name, value in plain.items():
        assert found[name] == pytest.approx(value, nan_ok=True), name
    assert set(plain) == set(CONTINUAL_METRICS) - {*OF_GENERAL, *WITH_REFERENCE}


def test_they_are_undefined_where_one_was_not_scored_and_absent_where_there_is_none() -> None:
    values = MATRIX.values.copy()
    values[2, 3] = NAN
    lost = ScoreMatrix(MATRIX.tasks, values, MATRIX.initial, MATRIX.general)
    assert math.isnan(lost.general_average())
    assert math.isnan(lost.general_drift())
    assert not set(OF_GENERAL) & set(summary_names(PLAIN))
    assert set(OF_GENERAL) <= set(summary_names(PANEL))


def test_a_matrix_survives_json_and_is_cut_with_its_columns() -> None:
    plain = json.loads(json.dumps(MATRIX.to_dict()))
    assert ScoreMatrix.from_dict(plain) == MATRIX
    assert plain["general"] == ["c", "d"]
    assert ScoreMatrix.from_dict({**plain, "general": ["c", "e"]}) != MATRIX
    cut = MATRIX.after(1)
    assert (cut.columns, cut.general_drift()) == (("a", "i", "c", "d"), pytest.approx(0.1))
    assert "general" not in WITHOUT.to_dict()
    rows = {stage: MATRIX.row(stage) for stage in range(3)}
    assert ScoreMatrix.from_rows(MATRIX.tasks, rows, MATRIX.initial, MATRIX.general) == MATRIX


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"general": ["a", "d"]}, "needs tasks that differ: got a, b, i, a, d"),
        ({"general": ["c"]}, "3 rows .row 0 is before any stage. and 4 columns"),
        ({"general": "cd"}, "got 'cd' as names of tasks"),
    ],
)
def test_a_matrix_with_wrong_general_tasks_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ScoreMatrix.from_dict({**MATRIX.to_dict(), **changes})


def test_a_trial_reports_them_and_its_record_is_read_again(scribe: Scribe, tmp_path: Path) -> None:
    found = scribes.run_trial(config(), scribe, PANEL)
    assert set(found.metrics()) - set(scribes.run_trial(config(), scribe, PLAIN).metrics()) == {
        *OF_GENERAL,
        GENERAL_KL,
    }
    (tmp_path / "trials").mkdir()
    found.record("0000", "finished").write(tmp_path)
    read = TrialRecord.read(tmp_path / "trials" / "0000.json")
    assert read.panel == PANEL
    assert read.matrices[0].general == ("c", "d")
    assert read.metrics["general_average"] == pytest.approx(0.1)
    assert read.metrics[GENERAL_KL] is None  # the scribe computes none
    assert GENERAL_KL in read.extra_matrices
