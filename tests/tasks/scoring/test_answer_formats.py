from __future__ import annotations

import math

import pytest

from spaces.errors import InputError
from tasks import AnsweredQuestion, check_format, constrain, score_split
from tasks.scoring.answer_formats import has_format

OBEY = {
    "letter": (["B", "(b)", "C.", " d "], ["", "BC", "the B", "1"]),
    "number": (["3", "-2.5", "1,000", "$4.20", "12 %", ".5"], ["", "three", "3 dogs", "1,00", "."]),
    "box": (["[0,0,1,1]", " [0.1, 0.2, .5, 1e-1]. "], ["0 0 1 1", "[0,0,1]", "box [0,0,1,1]", ""]),
    "word": (["dog", "Dog.", "t-shirt"], ["", "a dog", "..."]),
    "phrase": (["dog", "a dog on the road"], ["", "a dog on the long road"]),
    "yes_no": (["yes", "No.", "YES!"], ["", "yes it is", "maybe"]),
    "text": (["x", "any thing at all."], ["", "  "]),
    r"/[A-D]{2}\d/": (["AB1", " CD2 "], ["", "AB", "xAB1"]),
    "closed": (["Dog", "a cat."], ["", "dogs", "cat"]),
}


@pytest.mark.parametrize("answer_format", OBEY)
def test_an_answer_has_its_format_right_or_wrong(answer_format: str) -> None:
    good, bad = OBEY[answer_format]
    check_format(answer_format)
    answers = ("a cat", "dog")
    for text in good:
        assert has_format(text, answer_format, answers), text
    for text in bad:
        assert not has_format(text, answer_format, answers), text


def test_format_compliance_is_the_share_of_answers_in_the_answer_set() -> None:
    answered = [AnsweredQuestion(text, ["yes"]) for text in ("Yes.", "no", "a dog", "")]
    for part, share in ((answered, 0.5), ([], math.nan)):
        compliance = score_split("exact_match", part, "closed", ("no", "yes")).format_compliance
        assert compliance and compliance.value == pytest.approx(share, nan_ok=True)


def test_an_unknown_format_names_the_nearest_and_a_broken_pattern_its_fault() -> None:
    with pytest.raises(InputError, match='did you mean "letter"'):
        check_format("leter")
    with pytest.raises(InputError, match="must hold a regular expression: "):
        check_format("/[A-/")
    check_format("")


def test_a_constrained_answer_is_the_nearest_of_the_set_or_none() -> None:
    said = ["The zebra", "ZEBRA.", "zebras", "horse", "zebras", ""]
    assert constrain(said, ("zebra", "tiger")) == ["zebra", "zebra", "zebra", "", "zebra", ""]


def test_scores_tell_loss_of_the_format_from_loss_of_knowledge() -> None:
    answered = [
        AnsweredQuestion(text, ["zebra"]) for text in ("zebra", "zebras", "tiger", "a bird")
    ]
    marks = score_split("exact_match", answered, "closed", ("tiger", "zebra"))
    assert marks.values() == {
        "score": 0.25,
        "format_compliance": 0.5,
        "constrained_accuracy": 0.5,
    }
    assert marks.of(1) == {"score": 0, "format_compliance": 0, "constrained_accuracy": 1}


def test_a_task_without_format_or_answer_set_is_scored_by_its_metric_alone() -> None:
    marks = score_split("exact_match", [AnsweredQuestion("x", ["x"])])
    assert marks.values() == {
        "score": 1,
        "format_compliance": None,
        "constrained_accuracy": None,
    }
    assert (
        score_split("exact_match", [AnsweredQuestion("x", ["x"])], "closed").format_compliance
        is None
    )
    assert score_split("exact_match", [AnsweredQuestion("x", ["x"])], "word").values() == {
        "score": 1,
        "format_compliance": 1,
        "constrained_accuracy": None,
    }
