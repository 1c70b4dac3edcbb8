"""Metrics of answers by name, and the scores of a split's answers by one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from spaces.errors import InputError, unknown
from tasks.scoring.metrics.boxes import box_plain, grounding_accuracy
from tasks.scoring.metrics.captions import bleu, cider, rouge_l
from tasks.scoring.metrics.edits import anls, anls_plain
from tasks.scoring.metrics.letters import letter_plain, multiple_choice
from tasks.scoring.metrics.metric import AnsweredQuestion, Metric, Scores, one_by_one
from tasks.scoring.metrics.numbers import relaxed_accuracy
from tasks.scoring.metrics.ptb import caption_words
from tasks.scoring.metrics.texts import contains, exact_match, plain
from tasks.scoring.metrics.vqa import evalai_plain, vqa_accuracy, vqa_evalai, vqa_plain

__all__ = ["ANSWER_METRICS", "Metric", "Scores", "apply_metric", "scale_note", "score_answers"]


def _caption(text: str) -> str:
    return " ".join(caption_words(text))


ANSWER_METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "exact_match",
            "share of answers equal to a reference, but for case, blanks and final punctuation",
            one_by_one(exact_match),
            plain,
        ),
        Metric(
            "contains",
            "share of answers that contain a reference, whatever else they hold",
            one_by_one(contains),
            plain,
        ),
        Metric(
            "vqa_accuracy",
            "agreement with ten annotators: an answer that three of them gave is right",
            one_by_one(vqa_accuracy),
            vqa_plain,
        ),
        Metric(
            "vqa_evalai",
            "vqa_accuracy after EvalAI's tokenizer, for TextVQA, OK-VQA and VizWiz",
            one_by_one(vqa_evalai),
            evalai_plain,
        ),
        Metric(
            "multiple_choice",
            "share of answers that choose the right letter, or give its option's text",
            multiple_choice,
            letter_plain,
        ),
        Metric(
            "anls",
            "1 less the share of letters that differ from a reference, 0 if half of them do",
            one_by_one(anls),
            anls_plain,
        ),
        Metric(
            "relaxed_accuracy",
            "share of numbers within 5 % of a reference, and of texts equal to one",
            one_by_one(relaxed_accuracy),
            anls_plain,
        ),
        Metric(
            "grounding_accuracy",
            "share of boxes that overlap a reference by half of their union or more",
            one_by_one(grounding_accuracy),
            box_plain,
        ),
        Metric(
            "rouge_l",
            "F of the longest common subsequence of words, recall weighed 1.2 times (pycocoevalcap)",
            one_by_one(rouge_l),
            _caption,
        ),
        Metric(
            "cider",
            "CIDEr-D: agreement of n-grams, weighed by how rare they are among all references",
            cider,
            _caption,
            range=(0.0, 10.0),
            corpus=True,
        ),
        *(
            Metric(
                f"bleu_{order}",
                f"BLEU up to {order}-grams, counted over all answers at once",
                bleu(order),
                _caption,
            )
            for order in (1, 2, 3, 4)
        ),
    )
}


def apply_metric(metric: str, answered: Sequence[AnsweredQuestion]) -> Scores:
    """Return the score of every answer by a metric, and of all of them together."""
    if metric not in ANSWER_METRICS:
        raise unknown("metric", metric, ANSWER_METRICS)
    return ANSWER_METRICS[metric].score(answered)


def score_answers(
    metric: str, predictions: Sequence[str], references: Sequence[Sequence[str]]
) -> list[float]:
    """Return the score of every prediction against its own references."""
    if len(predictions) != len(references):
        raise InputError(
            f"every prediction needs its references: got {len(predictions)} predictions "
            f"and {len(references)} lists of references"
        )
    pairs = zip(predictions, references, strict=True)
    return apply_metric(metric, [AnsweredQuestion(text, own) for text, own in pairs]).each


def scale_note(metrics: Mapping[str, str]) -> str | None:
    """Explain averages over tasks whose metrics (by task) differ in range; return None if none do.

    Scores are never rescaled. Published tables of the field average CIDEr and accuracy as they are, both
    times 100; a reader of such an average needs this note.
    """
    tops = {task: ANSWER_METRICS[metric].range[1] for task, metric in metrics.items()}
    if len(set(tops.values())) < 2:
        return None
    wide = {task: top for task, top in tops.items() if top != min(tops.values())}
    named = ", ".join(f"{task} ({metrics[task]}, 0 to {top:g})" for task, top in wide.items())
    return (
        f"scores of different ranges are averaged as they are: {named}, the others 0 to "
        f"{min(tops.values()):g}. A CIDEr of 1 counts as much as an accuracy of 100 %, as in published "
        "tables; relative_final compares tasks whatever their ranges"
    )
