"""The answer that a row is trained on, and all answers that count as right."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from tasks.formats.raw_example import RowError, brief
from tasks.formats.values.noted_row import NotedRow, is_empty, is_missing, several_names, sole
from tasks.formats.values.options import Options
from tasks.formats.values.texts import as_text, whole_number

ANSWER = (
    *(
        "answer",
        "response",
        "output",
        "completion",
        "multiple_choice_answer",
        "correct_answer",
        "answerKey",
    ),
    *("answer_key", "correct_option", "ground_truth", "gt_answer"),
)
PLACES = ("answer_idx", "answer_index", "correct_choice_idx", "correct_answer_idx")
"""Names of answers that are places among options."""
FALLBACK = ("solution", "caption", "label", "target")
"""Names that hold the answer only where no other does; else they are said to be unused."""
ANSWERS = ("answers", "captions")
_LETTERED = re.compile(r"\s*[(\[]?([A-Za-z]|\d{1,2})[.):\]]\s*(\S.*?)\s*", re.DOTALL)
_LABEL = re.compile(r"\s*[(\[]?([A-Za-z]|\d{1,2})[.):\]]?\s*")


def answer_and_references(row: NotedRow, options: Options | None) -> tuple[str, tuple[str, ...]]:
    """Return the answer to train on, and all answers that count as right.

    Of a list alone, the most frequent answer is trained on; of equally frequent ones, the first.
    """
    answer = _answer(row, options)
    several = sole(row, ANSWERS, "answers", "answers")
    if isinstance(answer, list | tuple | Mapping):
        if not is_empty(several) and several != answer:
            raise several_names("answers", ["answers", "answer"], "answers")
        answer, several = None, answer
    texts = tuple(_text(one, row, options) for one in _listed(several))
    if answer is None and texts:
        if options and len(set(texts)) > 1:
            raise RowError("several answers among the options", brief(", ".join(texts)))
        return Counter(texts).most_common(1)[0][0], texts
    answer = _text(answer, row, options)
    return answer, texts or (answer,)


def _answer(row: NotedRow, options: Options | None) -> Any:
    """Return the value of the answer's column; columns that mean the same option count as one."""
    given = row.present((*ANSWER, *PLACES) if options else ANSWER)
    filled = {name: value for name, value in given.items() if not is_empty(value)} or given
    meant = {repr(value) for value in filled.values()}
    if len(meant) > 1 and options:
        meant = {_place(_text(value, row, options), options) for value in filled.values()}
    if len(meant) > 1:
        raise several_names("answer", list(filled), "answer")
    for name in given:
        row[name]  # it has been read
    if filled:
        return next(iter(filled.values()))
    if row.present(ANSWERS):
        return None
    name = next(iter(row.present(FALLBACK)), None)
    return row[name] if name else None


def _place(text: str, options: Options) -> str:
    """Return the label of the option that a text means; the text itself if it means none."""
    if text in options.texts:
        return options.labels[options.texts.index(text)]
    return text


def _listed(several: Any) -> list[Any]:
    """Return the answers of ["a"], [{"answer": "a"}], {"text": ["a"]}, {"value": "a"} or "a"."""
    if isinstance(several, Mapping):
        aliases = several.get("aliases")
        several = _first(several, ("text", "value", *ANSWER, *ANSWERS))
        if isinstance(several, str) and isinstance(aliases, list | tuple):
            several = [several, *(one for one in aliases if one != several)]
    if is_missing(several):
        return []
    if not isinstance(several, list | tuple):
        return [several]
    keys = ("text", "value", *ANSWER)
    return [_first(one, keys) if isinstance(one, Mapping) else one for one in several]


def _first(value: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((value[name] for name in names if not is_missing(value.get(name))), None)


def _text(value: Any, row: NotedRow, options: Options | None) -> str:
    """Return an answer as text: of a place among options, the option's label."""
    if options is None:
        return as_text(value, "answer")
    if isinstance(value, str):
        return _of_text(as_text(value, "answer"), row, options)
    number, text = whole_number(value), as_text(value, "answer")
    return text if number is None else _of_number(number, text, row, options)


def _of_number(number: int, text: str, row: NotedRow, options: Options) -> str:
    """Return the answer that a number means: an option itself, a label, or a place."""
    start = row.index_from()
    if text not in options.texts:
        is_label = text in options.labels and start != 0
        return text if is_label else _label_at(number, row, options)
    if not 0 <= number <= len(options.texts):
        return text
    if start is None and options.are_numbers:
        places = {number, number - 1} & set(range(len(options.texts)))
        if places == {options.texts.index(text)}:
            return text
        raise RowError("answer is a number among numbers", f"{text}: write its letter")
    return _label_at(number, row, options)


def _of_text(text: str, row: NotedRow, options: Options) -> str:
    mark = _LABEL.fullmatch(text)
    own = _own_label(mark[1], options) if mark else None
    if text in options.texts:
        if own is not None and own != options.labels[options.texts.index(text)]:
            raise RowError("answer is one option's text and another's letter", text)
        return text
    if mark is None:
        return _of_words(text, row, options)
    if own is None and mark[1].isdigit():
        return _label_at(int(mark[1]), row, options)
    if own is None and text.strip().casefold() not in map(str.casefold, options.texts):
        raise RowError("answer is no option", f"{brief(text)} of {', '.join(options.labels)}")
    return own or text


def _of_words(text: str, row: NotedRow, options: Options) -> str:
    """Return an answer of several words; refuse a letter with another option's text, and say no option."""
    lettered = _LETTERED.fullmatch(text)
    own = _own_label(lettered[1], options) if lettered else None
    if lettered and own is not None:
        meant = options.texts[options.labels.index(own)]
        if lettered[2].casefold() != meant.casefold() and lettered[2] in options.texts:
            raise RowError("answer is one option's text and another's letter", text)
        if lettered[2].strip(" .").casefold() == meant.strip(" .").casefold():
            return text
    if text.strip(" .").casefold() not in (one.strip(" .").casefold() for one in options.texts):
        row.say("answers that are no option")
    return text


def _own_label(text: str, options: Options) -> str | None:
    """Return the label that a letter means, in the case in which the question has it."""
    if text in options.labels:
        return text
    return next((one for one in options.labels if one.casefold() == text.casefold()), None)


def _label_at(number: int, row: NotedRow, options: Options) -> str:
    """Return the label of a place; a file's places count from 0 or from 1, as its rows tell."""
    start = row.index_from()
    if start is None:
        raise RowError(
            "answer is a number among choices",
            "no row tells whether they count from 0 or 1: columns: {index_from: 0} would say it",
        )
    if not 0 <= number - start < len(options.labels):
        raise RowError(
            "answer is no option",
            f"{number} of {len(options.labels)} that count from {start}; columns: {{index_from: ...}} "
            "sets it",
        )
    return options.labels[number - start]


def first_place(row: NotedRow, options: Options) -> int | None:
    """Return 0 or 1 if a row tells from which number its options count; None if it does not."""
    given = row.present((*ANSWER, *PLACES)) or row.present(FALLBACK)
    for value in given.values():
        number = whole_number(value)
        if number is None or str(number) in (*options.texts, *options.labels):
            continue
        if number == 0:
            return 0
        if number == len(options.texts):
            return 1
    return None
