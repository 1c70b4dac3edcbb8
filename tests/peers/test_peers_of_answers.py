"""Metrics of short answers, against the code of lmms-eval and the packages of ANLS on 2,000 cases each.

Every class of difference that is left has its own test, which says who is right.
"""

from __future__ import annotations

import random
import warnings

import pytest

from tasks import AnsweredQuestion, apply_metric, score_answers
from tasks.scoring.metrics.texts import plain
from tests.peers.generators import CASES, box_answer, letter_answer, number, typed, vqa_question
from tests.peers.published import lmms_eval, package

pytestmark = pytest.mark.peers
OPTIONS = ["a cat", "dog", "both of them", "New York"]
PROMPT = "Which is it?\n" + "\n".join(f"{'ABCD'[n]}. {text}" for n, text in enumerate(OPTIONS))


def said(name: str, equal: int, others: dict[str, int]) -> None:
    print(f"\n{name}: {equal} of {equal + sum(others.values())} equal; {others or 'no difference'}")


def test_vqa_accuracy_equals_lmms_evals_of_vqa_v2() -> None:
    peer, draw = lmms_eval("tasks/vqav2/utils.py"), random.Random(1)
    for _ in range(CASES):
        prediction, answers = vqa_question(draw)
        doc = {
            "question_id": 0,
            "answers": [{"answer": a, "answer_id": n} for n, a in enumerate(answers)],
        }
        theirs = peer.vqav2_process_results(doc, [prediction])["exact_match"]
        assert score_answers("vqa_accuracy", [prediction], [answers]) == [pytest.approx(theirs)]
    said("vqa_accuracy, lmms-eval", CASES, {})


def test_vqa_evalai_equals_lmms_evals_of_textvqa() -> None:
    peer, draw = lmms_eval("tasks/textvqa/utils.py"), random.Random(2)
    for _ in range(CASES):
        prediction, answers = vqa_question(draw)
        doc = {"question_id": 0, "answers": list(answers)}
        theirs = peer.textvqa_process_results(doc, [prediction])["exact_match"]
        assert score_answers("vqa_evalai", [prediction], [answers]) == [pytest.approx(theirs)]
    said("vqa_evalai, lmms-eval", CASES, {})


def test_anls_equals_the_package_anls() -> None:
    peer, draw = package("anls"), random.Random(3)
    for _ in range(CASES):
        prediction, answers = typed(draw)
        theirs = peer.anls_score(prediction, answers)
        assert score_answers("anls", [prediction], [answers]) == [pytest.approx(theirs)]
    said("anls, anls 0.0.2", CASES, {})


@pytest.mark.parametrize("name", ["anls_star", "lmms_eval"])
def test_anls_differs_from_others_where_half_differs_and_where_blanks_are_many(name: str) -> None:
    """Compare; the package `anls` and the paper are right.

    A similarity of exactly 0.5 is 0 in the paper's formula (distance < 0.5), but counts for both others.
    lmms-eval divides by the length before blanks are joined, so that added blanks raise the score.
    """
    draw, half, blanks = random.Random(4), 0, 0
    star = package("anls_star") if name == "anls_star" else None
    peer = lmms_eval("api/metrics.py") if not star else None
    for _ in range(CASES):
        prediction, answers = typed(draw)
        (ours,) = score_answers("anls", [prediction], [answers])
        with warnings.catch_warnings(action="ignore"):
            if star:
                theirs = star.anls_score(answers, prediction)
            else:
                assert peer
                theirs = peer.anls(answers, [prediction])["anls"]
        if ours != pytest.approx(theirs):
            unjoined = any(text != " ".join(text.split()) for text in [prediction, *answers])
            assert (ours == 0 and theirs == 0.5) or (name == "lmms_eval" and unjoined)
            half += ours == 0 and theirs == 0.5
            blanks += not (ours == 0 and theirs == 0.5)
    said(f"anls, {name}", CASES - half - blanks, {"half differs": half, "blanks": blanks})


def test_relaxed_accuracy_equals_lmms_evals_of_chartqa() -> None:
    """Compare; blanks at the ends are the one difference: "Italy " is "Italy" here, as in the paper.

    So are numbers that are not finite: "nan" and "inf" are words here, and equal to themselves.
    """
    peer, draw, blanks, words = lmms_eval("tasks/chartqa/utils.py"), random.Random(5), 0, 0
    for _ in range(CASES):
        prediction, answer = number(draw)
        (ours,) = score_answers("relaxed_accuracy", [prediction], [[answer]])
        if ours != float(peer.relaxed_correctness(prediction, answer)):
            blank = prediction != prediction.strip() or answer != answer.strip()
            assert blank or {prediction, answer} & {"nan", "inf"}, (prediction, answer)
            blanks, words = blanks + blank, words + (not blank)
    said(
        "relaxed_accuracy, lmms-eval", CASES - blanks - words, {"blanks": blanks, "nan, inf": words}
    )


def test_grounding_equals_lmms_evals_of_refcoco_where_the_box_is_in_square_brackets() -> None:
    """Compare; what asks for a box need not ask for its brackets, so reading more is right.

    lmms-eval reads square brackets alone, without a blank before a comma. A box whose corners are the wrong
    way round is 0 here; there its area may be negative.
    """
    peer, draw = lmms_eval("tasks/refcoco/utils_rec.py"), random.Random(6)
    others = {"other brackets": 0, "blank before a comma": 0, "wrong way round": 0}
    for _ in range(CASES):
        answer, right = box_answer(draw)
        reference = "[" + ", ".join(f"{side:g}" for side in right) + "]"
        read = peer.parse_float_sequence_within(answer)
        (ours,) = score_answers("grounding_accuracy", [answer], [[reference]])
        if ours != float(peer.compute_accuracy(right, read)):
            first = answer.partition(" or ")[0]
            is_other, is_blank = "[" not in first, " ," in first
            assert is_other or is_blank or read[0] > read[2], (answer, reference)
            kind = 0 if is_other else 1 if is_blank else 2
            others[list(others)[kind]] += 1
    said("grounding_accuracy, lmms-eval", CASES - sum(others.values()), others)


def test_multiple_choice_is_right_wherever_lmms_evals_of_scienceqa_is() -> None:
    """Compare; lmms-eval reads "B" and "B. ..." alone, so every difference is an answer read here only."""
    peer, draw, more = lmms_eval("tasks/scienceqa/utils.py"), random.Random(7), 0
    for _ in range(CASES):
        answer, right = letter_answer(draw, OPTIONS), draw.randrange(4)
        doc = {"choices": OPTIONS, "answer": right}
        theirs = peer.sqa_process_results(doc, [answer])["exact_match"]
        case = AnsweredQuestion(answer, ["ABCD"[right]], PROMPT)
        ours = apply_metric("multiple_choice", [case]).value
        assert ours >= theirs, (answer, right)
        more += ours != theirs
    said("multiple_choice, lmms-eval", CASES - more, {"other wordings": more})


def test_exact_match_equals_lmms_evals_but_for_final_punctuation_and_blanks() -> None:
    """Compare with lmms-eval's `ignore_case`; the task decides who is right.

    Marks at the end and blanks do not count here. With `ignore_punctuation`, lmms-eval drops all marks
    instead, so that "1.5" is "15" there.
    """
    peer, draw, ends = lmms_eval("api/metrics.py"), random.Random(8), 0
    for _ in range(CASES):
        prediction, (answer, *_) = vqa_question(draw)
        (ours,) = score_answers("exact_match", [prediction], [[answer]])
        theirs = peer.exact_match_hf_evaluate([prediction], [answer], ignore_case=True)[
            "exact_match"
        ]
        if ours != theirs:
            assert ours == 1 and plain(prediction) == plain(answer)
            ends += 1
    said("exact_match, lmms-eval", CASES - ends, {"ends and blanks": ends})


def test_contains_equals_lmms_evals_of_ocrbench_but_for_final_punctuation_and_blanks() -> None:
    """Compare; ours drops the reference's final marks and joins blanks, which is only more lenient."""
    peer, draw, ends = lmms_eval("tasks/ocrbench/utils.py"), random.Random(9), 0
    for _ in range(CASES):
        prediction, answers = typed(draw)
        doc = {"answer": answers, "dataset": "", "question_type": ""}
        theirs = peer.ocrbench_process_results(doc, [prediction])["ocrbench_accuracy"]["score"]
        (ours,) = score_answers("contains", [prediction], [answers])
        if ours != theirs:
            assert ours > theirs
            ends += 1
    said("contains, lmms-eval", CASES - ends, {"ends and blanks": ends})
