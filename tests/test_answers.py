from __future__ import annotations

import math

import pytest

from spaces.errors import InputError
from tasks import METRICS, format_compliance, score_answers


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_gives_a_right_answer_the_top_and_an_empty_one_the_bottom_of_its_range(
    name: str,
) -> None:
    metric = METRICS[name]
    references = ["two brown dogs"] * 10
    assert metric.name == name and metric.description
    assert score_answers(name, ["two brown dogs", ""], [references, references]) == [
        metric.range[1],
        metric.range[0],
    ]


@pytest.mark.parametrize(
    ("prediction", "score"),
    [("Zebra", 1), ("  zebra. ", 1), ("zebra?!", 1), ("a zebra", 0), ("zebras", 0), ("", 0)],
)
def test_exact_match_ignores_case_blanks_and_final_punctuation(prediction: str, score: int) -> None:
    assert score_answers("exact_match", [prediction], [["horse", "zebra"]]) == [score]
    assert score_answers("exact_match", ["new  york"], [["New York."]]) == [1]


@pytest.mark.parametrize(
    ("matches", "score"), [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (10, 1.0)]
)
def test_vqa_accuracy_is_the_mean_over_leave_one_out_subsets_of_ten(
    matches: int, score: float
) -> None:
    references = ["cat"] * matches + ["dog"] * (10 - matches)
    assert score_answers("vqa_accuracy", ["cat"], [references]) == [pytest.approx(score)]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_vqa_accuracy_of_few_references_is_one_where_all_agree(count: int) -> None:
    assert score_answers("vqa_accuracy", ["cat"], [["cat"] * count]) == [1.0]
    assert score_answers("vqa_accuracy", ["dog"], [["cat"] * count]) == [0.0]


@pytest.mark.parametrize(
    ("prediction", "reference"),
    [
        ("The Cat", "cat"),
        ("two", "2"),
        ("none", "0"),
        ("dont know", "don't know"),
        ("yes, it is", "yes it is"),
        ("1,000", "1000"),
        ("t-shirt", "t shirt"),
        ("an apple.", "apple"),
        ("3.5", "3.5"),
    ],
)
def test_vqa_accuracy_normalises_case_articles_numbers_contractions_and_punctuation(
    prediction: str, reference: str
) -> None:
    assert score_answers("vqa_accuracy", [prediction], [[reference] * 10]) == [1.0]


@pytest.mark.parametrize(
    ("prediction", "reference"), [("its", "it's"), ("were", "we're"), ("3.5", "35")]
)
def test_vqa_accuracy_keeps_apart_what_is_different(prediction: str, reference: str) -> None:
    assert score_answers("vqa_accuracy", [prediction], [[reference] * 10]) == [0.0]


def test_rouge_l_is_the_f1_of_the_longest_common_subsequence() -> None:
    # Common: the cat on the mat (5 words of 6 and 5).
    scores = score_answers("rouge_l", ["the cat sat on the mat"], [["the cat on the mat"]])
    assert scores == [pytest.approx(2 * 5 / 11)]
    # Order counts: only one word of "b a" follows another of "a b".
    assert score_answers("rouge_l", ["b a"], [["a b"]]) == [pytest.approx(0.5)]


def test_rouge_l_takes_the_best_reference_and_ignores_case_and_punctuation() -> None:
    scores = score_answers("rouge_l", ["A red, car!"], [["blue boat", "a red car"]])
    assert scores == [1.0]


def test_every_prediction_needs_its_references_and_a_known_metric() -> None:
    with pytest.raises(InputError, match="2 predictions and 1 lists"):
        score_answers("exact_match", ["a", "b"], [["a"]])
    with pytest.raises(InputError, match='did you mean "rouge_l"'):
        score_answers("rouge", ["a"], [["a"]])


def test_format_compliance_is_the_share_of_answers_in_the_answer_set() -> None:
    assert format_compliance(["Yes.", "no", "a dog", ""], ("no", "yes")) == 0.5
    assert math.isnan(format_compliance([], ("no", "yes")))
