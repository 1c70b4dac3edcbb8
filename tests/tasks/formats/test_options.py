"""Options of a question and the answers that choose one of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from one_row import example, items_of, refusal

from tasks.formats.raw_example import Accepted, Rejected
from tasks.formats.values.columns import Columns

ASKED = {"question": "Which is it?"}


@pytest.mark.parametrize(
    ("question", "options"),
    [
        ("How many are in picture 12 of 30?", ["1", "2", "3", "0"]),
        ("Which letter is at the cabin door?", ["a", "b", "c", "d"]),
        ("Is it a square or a circle?", ["square", "circle"]),
        ("Version A. Which?", ["red", "blue"]),
        ("Choices: red, blue. Which?", ["red", "blue"]),
    ],
)
def test_options_are_listed_unless_the_question_lists_them_with_labels(
    question: str, options: list[str], tmp_path: Path
) -> None:
    found = example({"question": question, "options": options, "answer": "A"}, tmp_path)
    assert found.prompt.splitlines()[1:] == [f"{'ABCD'[n]}. {o}" for n, o in enumerate(options)]


@pytest.mark.parametrize(
    ("question", "answer", "written"),
    [
        ("Which? (A) a cat (B) a dog", "b", "B"),
        ("Which?\nA. a cat\nB. A dog.", "B", "B"),
        ("Which? A) a cat, B) a dog", "a dog", "a dog"),
        ("Which? a) a cat b) a dog", "B", "b"),
        ("Which? 1. a cat 2. a dog", "2", "2"),
    ],
)
def test_listed_options_stay_and_the_answer_takes_their_label(
    question: str, answer: str, written: str, tmp_path: Path
) -> None:
    row = {"question": question, "options": ["a cat", "a dog"], "answer": answer}
    found = example(row, tmp_path)
    assert (found.prompt, found.answer) == (question, written)


def test_options_listed_under_each_others_labels_are_refused(tmp_path: Path) -> None:
    row = {"question": "(A) a dog (B) a cat?", "options": ["a cat", "a dog"], "answer": "A"}
    assert refusal(row, tmp_path).startswith("the question lists the options in another order")


@pytest.mark.parametrize(
    "options",
    [
        {"options": ["red", "blue"]},
        {"options": ["A. red", "B. blue"]},
        {"choices": ["(A) red", "(B) blue"]},
        {"options": {"A": "red", "B": "blue", "C": None}},
        {"options": {"label": ["A", "B"], "text": ["red", "blue"]}},
        {"choices": [{"label": "A", "text": "red"}, {"label": "B", "text": "blue"}]},
        {"choices": [{"A": "red"}, {"B": "blue"}]},
        {"options": '["red", "blue"]'},
        {"options": "['red', 'blue']"},
        {"options": '{"A": "red", "B": "blue"}'},
        {"options": "red\nblue"},
        {"options": "A. red\nB. blue"},
        {"options": "(A) red (B) blue"},
        {"options": "A. red B. blue"},
        {"A": "red", "B": "blue", "C": None},
        {"option_a": "red", "option_b": "blue"},
        {"option1": "red", "option2": "blue", "answer": "A"},
        {"choices": ["red", "blue", None], "options": []},
        {"choices": ["red", "blue"], "options": ["red", "blue"]},
    ],
)
def test_every_form_of_options_is_read(options: dict[str, Any], tmp_path: Path) -> None:
    row = ASKED | {"answer": "A"} | options
    if "option1" in options:
        row["answer"] = "1"
    found = example(row, tmp_path)
    first, second = ("1", "2") if "option1" in options else ("A", "B")
    assert found.prompt == f"Which is it?\n{first}. red\n{second}. blue"
    assert found.answer == first


@pytest.mark.parametrize(
    "options",
    [
        {"options": "red, blue"},
        {"options": 5},
        {"options": ["red", None, "blue"]},
        {"options": ["red", {"bytes": "x"}]},
        {"options": [True, False]},
        {"options": {"first": "red", "second": "blue"}},
        {"options": {"label": ["A"], "text": ["red", "blue"]}},
        {"options": ["red", "blue"], "choices": ["red", "green"]},
        {"options": [str(n) for n in range(27)]},
        {"A": "red", "B": "blue", "D": "green"},
    ],
)
def test_options_in_no_known_form_refuse_the_row(options: dict[str, Any], tmp_path: Path) -> None:
    assert refusal(ASKED | {"answer": "A"} | options, tmp_path)


def test_a_place_among_options_becomes_a_letter_where_the_rows_tell_how_it_counts(
    tmp_path: Path,
) -> None:
    rows = [ASKED | {"choices": ["red", "blue", "green"], "answer": n} for n in (1, 2, 0)]
    assert [i.examples[0].answer for i in items_of(rows, tmp_path)] == ["B", "C", "A"]  # type: ignore[union-attr]
    rows = [ASKED | {"choices": ["red", "blue", "green"], "answer": n} for n in ("1", 3.0, 0)]
    first, second, third = items_of(rows, tmp_path)
    assert isinstance(first, Accepted) and first.examples[0].answer == "A"
    assert isinstance(second, Accepted) and second.examples[0].answer == "C"
    assert isinstance(third, Rejected)  # the first row that tells has the say: 3 of 3 counts from 1
    rows = [
        ASKED | {"choices": ["1", "2"], "answer": 1},
        ASKED | {"choices": "a b c".split(), "answer": 0},
    ]
    assert [i.examples[0].answer for i in items_of(rows, tmp_path)] == ["B", "A"]  # type: ignore[union-attr]
    row = ASKED | {"choices": ["red", "blue", "green"], "answer": 1}
    assert refusal(row, tmp_path).startswith("answer is a number among choices")
    assert example(row, tmp_path, Columns(index_from=0)).answer == "B"
    assert example(row, tmp_path, Columns(index_from=1)).answer == "A"
    placed = ASKED | {"choices": ["red", "blue"], "correct_choice_idx": 0}
    assert example(placed, tmp_path).answer == "A"


@pytest.mark.parametrize(
    ("row", "answer"),
    [
        ({"options": [3, 5, 7], "answer": 5}, "5"),
        ({"options": ["red", "blue"], "answer": "blue", "answer_idx": "B"}, "blue"),
        ({"options": ["red", "blue"], "answer": "(B)"}, "B"),
        ({"options": ["red", "blue"], "answer": "B. blue"}, "B. blue"),
        ({"options": ["red", "blue"], "answer": ["B"]}, "B"),
        ({"options": {"1": "red", "2": "blue"}, "answer": "2"}, "2"),
        ({"options": [1, 2, 3], "answer": 2}, None),
        ({"options": ["red", "blue"], "answer": "C"}, None),
        ({"options": ["B", "A"], "answer": "A"}, None),
        ({"options": ["red", "blue"], "answer": ["A", "B"]}, None),
        ({"options": ["red", "blue"], "answer": "red", "answer_idx": "B"}, None),
    ],
)
def test_answers_among_options_are_a_label_or_text_or_refused(
    row: dict[str, Any], answer: str | None, tmp_path: Path
) -> None:
    if answer is None:
        assert refusal(ASKED | row, tmp_path)
    else:
        assert example(ASKED | row, tmp_path).answer == answer
