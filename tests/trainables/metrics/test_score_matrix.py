from __future__ import annotations

import inspect
import json
import math
import pickle

import numpy as np
import pytest

from spaces.errors import InputError
from trainables.metrics.glossary import GLOSSARY
from trainables.metrics.score_matrix import CONTINUAL_METRICS, ScoreMatrix
from trainables.metrics.summary import summary

NAN = math.nan
FULL = ScoreMatrix(
    ("a", "b", "c"),
    np.array([[0.1, 0.2, 0.3], [0.8, 0.25, 0.1], [0.9, 0.7, 0.4], [0.5, 0.6, 1.0]]),
)
# Scored: what was learned and the next task after each stage, everything at the start and the end.
CHEAP = ScoreMatrix(
    ("a", "b", "c"),
    np.array([[0.1, 0.2, 0.3], [0.8, 0.25, NAN], [NAN, 0.7, 0.4], [0.5, 0.6, 1.0]]),
)
JOINT = ScoreMatrix.from_rows(("a", "b"), {0: {"a": 0.1, "b": 0.1}, 2: {"a": 0.9, "b": 0.7}})
ONE = ScoreMatrix(("a",), np.array([[0.1], [0.9]]))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("final_average", (0.5 + 0.6 + 1.0) / 3),
        ("average_over_stages", (0.8 + (0.9 + 0.7) / 2 + (0.5 + 0.6 + 1.0) / 3) / 3),
        ("average_over_columns", ((0.8 + 0.9 + 0.5) / 3 + (0.7 + 0.6) / 2 + 1.0) / 3),
        ("learning_average", (0.8 + 0.7 + 1.0) / 3),
        ("forgetting", ((0.9 - 0.5) + (0.7 - 0.6)) / 2),
        ("chaudhry_forgetting", ((0.9 - 0.5) + (0.7 - 0.6)) / 2),
        ("backward_transfer", ((0.5 - 0.8) + (0.6 - 0.7)) / 2),
        ("backward_transfer_coin", ((0.5 - 0.8) + (0.6 - 0.7)) / 3),
        ("backward_transfer_clmm", ((0.5 - 0.9) + (0.6 - 0.7) + 0.0) / 3),
        ("forward_transfer", ((0.25 - 0.2) + (0.4 - 0.3)) / 2),
    ],
)
def test_each_metric_is_its_formula_on_a_matrix_written_by_hand(name: str, value: float) -> None:
    assert CONTINUAL_METRICS[name](FULL) == pytest.approx(value)
    assert summary(FULL)[name] == pytest.approx(value)


def test_metrics_against_a_reference_are_their_formulas() -> None:
    joint = {"a": 0.9, "b": 0.8, "c": 0.9}
    assert FULL.intransigence(joint) == pytest.approx((0.1 + 0.1 - 0.1) / 3)
    assert FULL.relative_final(joint) == pytest.approx((0.5 / 0.9 + 0.6 / 0.8 + 1.0 / 0.9) / 3)
    both = summary(FULL, joint=joint, reference=joint)
    assert both["intransigence"] == FULL.intransigence(joint)
    assert both["relative_final"] == FULL.relative_final(joint)
    assert "intransigence" not in summary(FULL)


def test_a_metric_against_a_missing_or_zero_reference_is_undefined() -> None:
    for joint in ({"a": 0.9, "b": 0.8}, {"a": 0.9, "b": 0.8, "c": NAN}):
        assert math.isnan(FULL.intransigence(joint))
    zero = {"a": 0.9, "b": 0.0, "c": 0.9}
    assert math.isnan(FULL.relative_final(zero))
    assert FULL.intransigence(zero) == pytest.approx((0.1 - 0.7 - 0.1) / 3)


def test_the_cheap_schedule_leaves_undefined_only_what_needs_all_seen_tasks() -> None:
    assert CHEAP.final_average() == FULL.final_average()
    assert CHEAP.learning_average() == FULL.learning_average()
    assert CHEAP.backward_transfer() == FULL.backward_transfer()
    assert CHEAP.forward_transfer() == FULL.forward_transfer()
    assert math.isnan(CHEAP.average_over_stages())


def test_maxima_and_minima_are_over_the_evaluated_rows() -> None:
    assert CHEAP.forgetting() == pytest.approx(((0.8 - 0.5) + (0.7 - 0.6)) / 2)
    assert CHEAP.backward_transfer_clmm() == pytest.approx(((0.5 - 0.8) + (0.6 - 0.7)) / 3)


def test_a_task_that_is_best_at_the_end_has_negative_forgetting() -> None:
    # The maximum leaves the last stage out: a task improves by .2 and .1 after its best earlier stage.
    values = np.array([[0.1, 0.1, 0.1], [0.5, 0.1, 0.1], [0.6, 0.4, 0.1], [0.8, 0.5, 0.9]])
    matrix = ScoreMatrix(FULL.tasks, values)
    assert matrix.forgetting() == pytest.approx(((0.6 - 0.8) + (0.4 - 0.5)) / 2)


def test_chaudhrys_forgetting_counts_the_stages_before_a_task_was_learned() -> None:
    # b had .9 before its own stage, and .8 before any: the former is an earlier stage, the latter none.
    values = np.array([[0.1, 0.8, 0.1], [0.8, 0.9, 0.1], [0.7, 0.6, 0.4], [0.5, 0.5, 1.0]])
    early = ScoreMatrix(FULL.tasks, values)
    assert early.chaudhry_forgetting() == pytest.approx(((0.8 - 0.5) + (0.9 - 0.5)) / 2)
    assert early.forgetting() == pytest.approx(((0.8 - 0.5) + (0.6 - 0.5)) / 2)
    values[1, 1] = NAN
    assert math.isnan(ScoreMatrix(FULL.tasks, values).chaudhry_forgetting())
    assert math.isnan(CHEAP.chaudhry_forgetting())


def test_a_lower_triangle_has_no_forward_transfer() -> None:
    values = np.where(np.tri(4, 3, -1, dtype=bool), FULL.values, NAN)
    values[0] = FULL.values[0]
    lower = ScoreMatrix(FULL.tasks, values)
    assert math.isnan(lower.forward_transfer())
    assert lower.forgetting() == FULL.forgetting()
    assert math.isnan(lower.chaudhry_forgetting())


def test_without_scores_before_the_first_stage_there_is_no_forward_transfer() -> None:
    values = FULL.values.copy()
    values[0] = NAN
    assert math.isnan(ScoreMatrix(FULL.tasks, values).forward_transfer())


@pytest.mark.parametrize(
    "name", ["forgetting", "chaudhry_forgetting", "backward_transfer", "forward_transfer"]
)
def test_one_task_has_nothing_to_forget_or_to_transfer(name: str) -> None:
    assert math.isnan(CONTINUAL_METRICS[name](ONE))
    assert ONE.final_average() == ONE.learning_average() == ONE.average_over_stages() == 0.9
    assert ONE.backward_transfer_clmm() == 0.0


def test_joint_training_has_a_final_average_and_no_forgetting() -> None:
    assert JOINT.final_average() == pytest.approx(0.8)
    for name in ("forgetting", "learning_average", "backward_transfer"):
        assert math.isnan(CONTINUAL_METRICS[name](JOINT))


def test_a_matrix_that_was_never_evaluated_defines_no_metric() -> None:
    empty = ScoreMatrix.from_rows(("a", "b"), {})
    assert all(math.isnan(value) for value in summary(empty).values())


def test_an_unfinished_matrix_has_metrics_of_the_stages_done() -> None:
    values = FULL.values.copy()
    values[3] = NAN
    unfinished = ScoreMatrix(FULL.tasks, values)
    assert math.isnan(unfinished.final_average())
    assert unfinished.after(2) == FULL.after(2)
    assert unfinished.after(2).tasks == ("a", "b")
    assert unfinished.after(2).final_average() == pytest.approx((0.9 + 0.7) / 2)
    with pytest.raises(InputError, match="stage must be 1 to 3: got 4"):
        FULL.after(4)


def test_random_matrices_obey_the_relations_between_the_metrics() -> None:
    generator = np.random.default_rng(0)
    for count in (2, 3, 5, 8):
        tasks = tuple(f"t{i}" for i in range(count))
        matrix = ScoreMatrix(tasks, generator.random((count + 1, count)))
        assert matrix.forgetting() >= -matrix.backward_transfer() - 1e-12
        assert matrix.chaudhry_forgetting() >= matrix.forgetting() - 1e-12
        assert matrix.backward_transfer_clmm() <= 0
        assert 0 <= matrix.final_average() <= 1
        final = matrix.row(count)
        assert matrix.relative_final(final) == pytest.approx(1.0)
        learned = {task: float(matrix.values[i + 1, i]) for i, task in enumerate(tasks)}
        assert matrix.intransigence(learned) == pytest.approx(0.0)
        gap = (matrix.final_average() - matrix.learning_average()) * count / (count - 1)
        assert matrix.backward_transfer() == pytest.approx(gap)


def test_a_matrix_survives_json_and_pickling_cell_by_cell() -> None:
    text = json.dumps(CHEAP.to_dict(), allow_nan=False)
    assert "null" in text
    again = ScoreMatrix.from_dict(json.loads(text))
    assert again == CHEAP == pickle.loads(pickle.dumps(CHEAP))
    assert hash(again) == hash(CHEAP)
    assert again != FULL


def test_a_matrix_cannot_be_changed() -> None:
    source = FULL.values.copy()
    matrix = ScoreMatrix(FULL.tasks, source)
    source[0, 0] = 9.0
    assert matrix == FULL
    with pytest.raises(ValueError, match="read-only"):
        matrix.values[0, 0] = 1.0


def test_rows_are_read_by_task_and_the_rest_is_nan() -> None:
    assert JOINT.row(2) == {"a": 0.9, "b": 0.7}
    assert all(math.isnan(score) for score in JOINT.row(1).values())
    assert JOINT.stages == 2


@pytest.mark.parametrize(
    ("tasks", "values", "message"),
    [
        ((), np.zeros((1, 0)), "tasks that differ: got none"),
        (("a", "a"), np.zeros((3, 2)), "tasks that differ: got a, a"),
        (("a", "b"), np.zeros((2, 2)), "3 rows .* and 2 columns: got 2 x 2"),
        (("a",), np.array([[0.0], [math.inf]]), "must be finite"),
    ],
)
def test_a_matrix_of_a_wrong_shape_is_an_input_error(
    tasks: tuple[str, ...], values: np.ndarray, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        ScoreMatrix(tasks, values)


def test_rows_of_unknown_tasks_and_stages_are_input_errors() -> None:
    with pytest.raises(InputError, match=r'unknown task "lft".*did you mean "left"'):
        ScoreMatrix.from_rows(("left",), {0: {"lft": 0.1}})
    with pytest.raises(InputError, match="stages of 1 tasks are 0 to 1: got 2"):
        ScoreMatrix.from_rows(("left",), {2: {"left": 0.1}})


def test_every_metric_has_its_formula_in_the_glossary() -> None:
    assert CONTINUAL_METRICS.keys() <= GLOSSARY.keys()
    for name, metric in CONTINUAL_METRICS.items():
        assert GLOSSARY[name].formula and inspect.getdoc(metric), name
