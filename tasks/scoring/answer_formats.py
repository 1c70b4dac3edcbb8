"""Formats of answers, right or wrong: loss of the format is measured apart from loss of knowledge."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache

import regex

from spaces.errors import InputError, unknown
from tasks.scoring.metrics.boxes import STRICT
from tasks.scoring.metrics.edits import nearest
from tasks.scoring.metrics.texts import plain

PHRASE = 5
"""Most words of a phrase."""

_LETTER = re.compile(r"(?:\([A-Za-z]\)|[A-Za-z])[.:)]?")
_NUMBER = re.compile(r"[-+]?[$€£]?\s?(?:\d{1,3}(?:,\d{3})++|\d++)?(?:\.\d++)?\s?%?\.?")
SECONDS = 1.0
"""Most seconds that a plan's own expression may read one answer; beyond them the format is lost."""


def _is_number(text: str) -> bool:
    return bool(_NUMBER.fullmatch(text.strip())) and any(letter.isdigit() for letter in text)


ANSWER_FORMATS: dict[str, Callable[[str], bool]] = {
    "letter": lambda text: bool(_LETTER.fullmatch(text.strip())),
    "number": _is_number,
    "box": lambda text: bool(STRICT.fullmatch(text.strip())),
    "word": lambda text: len(plain(text).split()) == 1,
    "phrase": lambda text: 1 <= len(plain(text).split()) <= PHRASE,
    "yes_no": lambda text: plain(text) in ("yes", "no"),
    "text": lambda text: bool(text.strip()),
}
"""Formats by name; beside them `closed` (one of the training answers), and /regex/."""


def check_format(answer_format: str) -> None:
    """Raise `InputError` unless the format is known or empty."""
    if answer_format in ("", "closed") or answer_format in ANSWER_FORMATS:
        return
    if not _is_pattern(answer_format):
        raise unknown("answer_format", answer_format, ("closed", "/regex/", *ANSWER_FORMATS))
    try:
        regex.compile(answer_format[1:-1])
    except regex.error as error:
        raise InputError(
            f"answer_format {answer_format} must hold a regular expression: {error}"
        ) from error


def has_format(
    prediction: str, answer_format: str, answer_set: Collection[str] | None = None
) -> bool:
    """Return whether an answer has the format; `closed` needs the task's `answer_set`."""
    if answer_format == "closed":
        return plain(prediction) in _plain_set(tuple(answer_set or ()))
    if _is_pattern(answer_format):
        return _fits(answer_format[1:-1], prediction.strip())
    check_format(answer_format)
    return ANSWER_FORMATS[answer_format](prediction)


def constrain(predictions: Sequence[str], answer_set: Collection[str]) -> list[str]:
    """Replace each prediction by the nearest answer of the set; by an empty text if none or two are.

    This works on the text after generation. Constrained decoding would need the model, and a pass for
    every answer of the set.
    """
    by_form = {plain(answer): answer for answer in answer_set}
    chosen: dict[str, str] = {}
    for text in predictions:
        if text not in chosen:  # predictions repeat, and sets are large
            exact = by_form.get(plain(text))
            chosen[text] = exact if exact is not None else nearest(text, answer_set) or ""
    return [chosen[text] for text in predictions]


def _is_pattern(answer_format: str) -> bool:
    return len(answer_format) > 2 and answer_format[0] == answer_format[-1] == "/"


def _fits(pattern: str, text: str) -> bool:
    """Return whether a plan's expression matches, within `SECONDS`: it may be of any cost."""
    try:
        return regex.fullmatch(pattern, text, timeout=SECONDS) is not None
    except TimeoutError:
        return False


@lru_cache(maxsize=8)  # asked for every answer of a split
def _plain_set(answers: tuple[str, ...]) -> frozenset[str]:
    return frozenset(plain(answer) for answer in answers)
