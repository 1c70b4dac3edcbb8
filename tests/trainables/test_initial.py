"""Tasks that were learned before the orderings: trained jointly first, or known to the model already."""

from __future__ import annotations

import json
import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import scribe as scribes
from scribe import Scribe, alike, path
from toy import config

from spaces import InputError
from trainables.metrics.glossary import OF_GENERAL, OF_INITIAL
from trainables.metrics.score_matrix import CONTINUAL_METRICS, ScoreMatrix
from trainables.metrics.summary import summary
from trainables.panel import INITIAL_STATES, Panel
from trainables.store.stage_store import StageStore

NAN = math.nan
BOTH = pytest.mark.parametrize("initial_state", INITIAL_STATES)
INITIAL = ("a", "b")
ORDERINGS = (("c", "d"), ("d", "c"))


@pytest.fixture
def scribe(tmp_path: Path) -> Scribe:
    return Scribe(StageStore(tmp_path), {t: alike([1.0, ord(t) - 98.0]) for t in "abcd"})


def panel(initial_state: str = "trained", **knobs) -> Panel:
    return Panel(ORDERINGS, initial=INITIAL, initial_state=initial_state, **knobs)


# What is trained ---------------------------------------------------------------------------------


def test_they_are_trained_jointly_once_for_all_orderings_and_strategies(scribe: Scribe) -> None:
    for name in ("finetune", "ewc", "replay", "joint", "tir"):
        scribes.run_trial(config(name), scribe, panel())
    assert scribe.trained.count(("a+b",)) == 1
    assert scribe.trained[:5] == [
        ("a+b",),
        ("a", "b", "c"),
        ("a", "b", "c", "d"),
        ("a", "b", "d"),
        ("a", "b", "d", "c"),
    ]
    assert ("a", "b", "c+d") in scribe.trained
    assert not any(set(INITIAL) & {stage[-1]} for stage in scribe.trained)


def test_what_the_model_knows_already_is_not_trained(scribe: Scribe) -> None:
    found = scribes.run_trial(config("ewc"), scribe, panel("known"))
    assert scribe.trained[0] == ("a", "b", "c")
    assert found.key(()) == found.lineage.base
    parents = {job.parent for job in scribe.jobs if job.train and job.depth == 1}
    assert parents == {found.lineage.base}
    assert found.outcome.before.train_seconds == 0.0


def test_stages_begin_with_what_was_trained_before(scribe: Scribe) -> None:
    found = scribes.run_trial(config(), scribe, panel())
    jobs = {job.tasks: job for job in scribe.jobs if job.train and len(job.context.before) < 2}
    assert jobs["a", "b"].parent == found.lineage.base
    assert jobs["c",].parent == jobs["d",].parent == jobs["a", "b"].key == found.key(())
    assert [jobs[tasks].depth for tasks in (("a", "b"), ("c",))] == [0, 1]
    assert found.outcome.before.train_seconds == 2.0
    assert found.metrics()["train_seconds"] == 2.0 + 4 * 2.0


def test_what_was_learned_before_and_how_names_the_stages_after_it(scribe: Scribe) -> None:
    def key(name: str, initial_state: str, initial=INITIAL) -> str:
        chosen = Panel(ORDERINGS, initial=initial, initial_state=initial_state)
        return scribes.lineage(config(name), scribe, chosen).key(path("c"))

    plain = [key("finetune", *how) for how in (("trained",), ("known",), ("known", ()))]
    assert plain[0] != plain[1] == plain[2]  # the model's own weights, whatever they know
    assert key("finetune", "trained") != key("finetune", "trained", ("a",))
    for name in ("replay", "ewc", "tir", "lwf", "der", "a_gem"):
        assert len({key(name, "known"), key(name, "known", ("a",)), plain[1]}) == 3, name
        assert len({key(name, "trained"), plain[0]}) == 2, name


# What they count for -----------------------------------------------------------------------------


@BOTH
def test_they_are_old_tasks_of_the_first_stage(initial_state: str, scribe: Scribe) -> None:
    found = scribes.run_trial(config("tir"), scribe, panel(initial_state))
    job = found.job(path("c"))
    assert job.context.before == (INITIAL,)
    assert job.context.old == INITIAL
    assert {len(values) for values in job.context.similarity.values()} == {2}
    kept = {
        job.depth: [task for task, _ in job.to_consolidate]
        for job in scribe.jobs
        if job.to_consolidate
    }
    assert kept[0] == ["a", "b"]
    assert list(found.job(path("c>d")).kept_before) == [
        key for _, key in found.lineage.kept(())
    ] + [found.lineage.kept(path("c"))[0][1]]


def test_they_are_scored_before_the_first_stage_and_after_the_last(scribe: Scribe) -> None:
    for matrix in scribes.run_trial(config(), scribe, panel()).matrices():
        assert matrix.initial == INITIAL
        rows = [[math.isnan(matrix.row(row)[task]) for task in INITIAL] for row in range(3)]
        assert rows == [[False] * 2, [True] * 2, [False] * 2]
    for matrix in scribes.run_trial(config(), scribe, panel(scoring="all")).matrices():
        assert not np.isnan(matrix.values).any()
    (matrix, _) = scribes.run_trial(config("joint"), scribe, panel()).matrices()
    assert [math.isnan(matrix.row(row)["a"]) for row in range(3)] == [False, True, False]


def test_an_ordering_that_ends_within_another_is_scored_there(scribe: Scribe) -> None:
    chosen = Panel((("c", "d"), ("c",)), initial=INITIAL)
    long, short = scribes.run_trial(config(), scribe, chosen).matrices()
    assert short.row(1)["a"] == long.row(1)["a"]
    assert not math.isnan(short.initial_average())


def test_metrics_of_them_are_there_where_they_are(scribe: Scribe) -> None:
    found = scribes.run_trial(config(), scribe, panel())
    # As the scribe has it: a tenth less for every task learned since.
    assert found.metrics()["initial_average"] == pytest.approx((0.6 + 0.7) / 2)
    assert found.metrics()["initial_forgetting"] == pytest.approx(0.2)
    without = scribes.run_trial(config(), scribe, Panel(ORDERINGS))
    assert not set(OF_INITIAL) & set(without.metrics())
    assert found.metrics()["final_average"] == without.metrics()["final_average"]
    cells = [(r.ordering, r.stage, r.task) for r in found.outcome.cells()]
    assert (1, 0, "a") in cells and (2, 2, "b") in cells and (1, 1, "a") not in cells


# Their matrix ------------------------------------------------------------------------------------

VALUES = [[0.1, 0.2, 0.9, 0.6], [0.8, 0.3, NAN, 0.7], [0.5, 0.7, 0.4, 0.65]]
MATRIX = ScoreMatrix(("c", "d"), np.array(VALUES), INITIAL)
PLAIN = ScoreMatrix(("c", "d"), np.array(VALUES)[:, :2])


def test_their_metrics_are_their_formulas() -> None:
    assert MATRIX.initial_average() == pytest.approx((0.4 + 0.65) / 2)
    assert MATRIX.initial_forgetting() == pytest.approx(((0.9 - 0.4) + (0.7 - 0.65)) / 2)
    # min_t (a[T] - a[t]) of each column: -0.3, 0, -0.5 and -0.05
    assert MATRIX.backward_transfer_clmm() == pytest.approx((-0.3 + 0 - 0.5 - 0.05) / 4)
    assert PLAIN.backward_transfer_clmm() == pytest.approx(-0.3 / 2)


def test_all_other_metrics_are_of_the_orderings_tasks_alone() -> None:
    joint = {"c": 0.9, "d": 0.8}
    found, plain = (summary(m, joint=joint, reference=joint) for m in (MATRIX, PLAIN))
    for name in set(CONTINUAL_METRICS) - {*OF_INITIAL, *OF_GENERAL, "backward_transfer_clmm"}:
        assert found[name] == plain[name], name
    assert set(found) - set(plain) == set(OF_INITIAL)


def test_their_columns_survive_json_pickling_and_a_cut() -> None:
    assert ScoreMatrix.from_dict(json.loads(json.dumps(MATRIX.to_dict()))) == MATRIX
    assert pickle.loads(pickle.dumps(MATRIX)) == MATRIX
    assert "initial" not in PLAIN.to_dict()
    assert ScoreMatrix((*MATRIX.columns,)[:2], np.array(VALUES), ("b", "a")) != MATRIX
    rows = {row: MATRIX.row(row) for row in range(3)}
    assert ScoreMatrix.from_rows(("c", "d"), rows, INITIAL) == MATRIX
    assert MATRIX.columns == ("c", "d", "a", "b")
    cut = MATRIX.after(1)
    assert (cut.tasks, cut.initial) == (("c",), INITIAL)
    assert cut.values[:, 2].tolist() == [0.6, 0.7]
    assert cut.values[:, 0].tolist() == [0.1, 0.8]


def test_without_them_their_metrics_are_undefined() -> None:
    for name in OF_INITIAL:
        assert math.isnan(CONTINUAL_METRICS[name](PLAIN))
    unscored = ScoreMatrix.from_rows(("c",), {1: {"a": 0.5}}, ("a",))
    assert math.isnan(unscored.initial_forgetting())
    assert unscored.initial_average() == 0.5


@pytest.mark.parametrize(
    ("tasks", "shape", "initial", "message"),
    [
        (("c", "d"), (3, 2), ("a",), "2 tasks need a matrix of 3 rows .* 3 columns: got 3 x 2"),
        (("c", "d"), (3, 3), ("c",), "tasks that differ: got c, d, c"),
    ],
)
def test_columns_that_do_not_fit_are_an_input_error(tasks, shape, initial, message) -> None:
    with pytest.raises(InputError, match=message):
        ScoreMatrix(tasks, np.zeros(shape), initial)
