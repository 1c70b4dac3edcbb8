"""Answers of 100,000 characters are read in a time that grows no faster than their length."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tasks.scoring.answer_formats import ANSWER_FORMATS
from tasks.scoring.answers import ANSWER_METRICS
from tasks.scoring.metrics.metric import AnsweredQuestion
from tasks.scoring.metrics.ptb import caption_words

LENGTH = 100_000
SECONDS = 5.0
"""A generous bound: an expression that goes back over a text needs minutes or years."""
PIECES = (
    *(" ", "\n", "\t", "1", "1 ", "1.", "1e", "-", "+-", "1\n ", "\n1.", "9,", "1,234", "$"),
    *("[", "[ ", "[1,", "(1,2),", "<1>", "[]", "[0 0 1", "{(<", "\uff3b1\uff0c"),
    *("a", "a ", "B", "B ", "B. ", "(", "*", "A or ", "answer ", "option is ", "it's ", "boxed{"),
    *(
        "<answer>",
        "answer is the option ",
        "the ",
        "'",
        "a.",
        "a-",
        "a/",
        "n't ",
        "&amp;",
        "#",
        "?!",
    ),
)
ENDS = (("", ""), ("[1", "x"), ("0.1 0.2 0.5", ""), ("The answer is ", " B"), ("B", "x"))
CAPTION = ANSWER_METRICS["cider"].normalise
REFERENCES = {"grounding_accuracy": "[0.1, 0.2, 0.5, 0.9]", "multiple_choice": "B"}


def timed(read: Callable[[str], object], *texts: str) -> dict[str, float]:
    """Return the texts, by their openings, that took longer than the bound."""
    slow = {}
    for text in texts:
        begun = time.process_time()
        read(text)
        if (spent := time.process_time() - begun) > SECONDS:
            slow[text[:20]] = spent
    return slow


def long_texts(piece_step: int = 1) -> list[str]:
    """Return every piece, repeated, and some of them between two ends."""
    bare = [piece * (LENGTH // len(piece)) for piece in PIECES[::piece_step]]
    return bare + [start + bare[n % len(bare)] + end for n, (start, end) in enumerate(ENDS)]


@pytest.mark.parametrize("name", ANSWER_FORMATS)
def test_no_format_takes_long_on_any_answer(name: str) -> None:
    assert not timed(ANSWER_FORMATS[name], *long_texts())


ALONE = [name for name, metric in ANSWER_METRICS.items() if metric.normalise is not CAPTION]


@pytest.mark.parametrize("name", ALONE)
def test_no_metric_takes_long_on_any_answer(name: str) -> None:
    metric, reference = ANSWER_METRICS[name], REFERENCES.get(name, "a dog")

    def read(text: str) -> None:
        metric.score([AnsweredQuestion(text, [reference], "Which?\nA. a cat\nB. a dog")])

    assert not timed(read, *long_texts(3 if name == "grounding_accuracy" else 1))


def test_no_caption_takes_long_to_cut_into_words() -> None:
    """All metrics of captions read texts by this alone."""
    assert not timed(caption_words, *long_texts(4))
