from __future__ import annotations

import math

import pytest

from spaces.errors import InputError
from tasks import ANSWER_METRICS, AnsweredQuestion, apply_metric, scale_note, score_answers

RIGHT = {
    "multiple_choice": ["B", "A"],
    "grounding_accuracy": ["[0.1, 0.2, 0.5, 0.9]", "[0, 0, 1, 1]"],
    "relaxed_accuracy": ["12.5", "three"],
}
"""Right answers of two questions, where words will not do."""
WORDS = ["two brown dogs run over green grass", "a red bus waits beside the old station"]


@pytest.mark.parametrize("name", ANSWER_METRICS)
def test_every_metric_gives_right_answers_the_top_and_none_the_bottom_of_its_range(
    name: str,
) -> None:
    metric, right = ANSWER_METRICS[name], RIGHT.get(name, WORDS)
    assert metric.name == name and metric.description
    references = [[text] * 10 for text in right]
    said = apply_metric(
        name, [AnsweredQuestion(*pair) for pair in zip(right, references, strict=True)]
    )
    assert said.each == [pytest.approx(metric.range[1])] * 2
    assert said.value == pytest.approx(metric.range[1])
    silent = apply_metric(name, [AnsweredQuestion("", own) for own in references])
    assert [*silent.each, silent.value] == [pytest.approx(metric.range[0])] * 3
    assert all(metric.normalise(text) for text in right)


@pytest.mark.parametrize("name", ANSWER_METRICS)
def test_no_answer_at_all_has_no_score(name: str) -> None:
    value, each = apply_metric(name, [])
    assert math.isnan(value) and each == []


@pytest.mark.parametrize("name", ANSWER_METRICS)
def test_only_corpus_metrics_depend_on_the_other_examples(name: str) -> None:
    one, other = (
        AnsweredQuestion("a red bus waits", [WORDS[1]]),
        AnsweredQuestion("dogs", [WORDS[0]]),
    )
    alone, beside = apply_metric(name, [one]).each[0], apply_metric(name, [one, other]).each[0]
    assert (alone != beside) == ANSWER_METRICS[name].corpus


def test_every_prediction_needs_its_references_and_a_known_metric() -> None:
    with pytest.raises(InputError, match="2 predictions and 1 lists"):
        score_answers("exact_match", ["a", "b"], [["a"]])
    with pytest.raises(InputError, match='did you mean "rouge_l"'):
        score_answers("rouge", ["a"], [["a"]])


def test_averages_over_metrics_of_different_ranges_are_announced_and_others_are_not() -> None:
    assert scale_note({"a": "exact_match", "b": "vqa_accuracy"}) is None
    assert scale_note({"a": "cider", "b": "cider"}) is None
    note = scale_note({"flickr": "cider", "gqa": "exact_match"})
    assert note and "flickr (cider, 0 to 10), the others 0 to 1" in note
