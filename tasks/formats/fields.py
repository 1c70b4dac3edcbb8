"""Rows of a question and its answers: their prompt, images, answers, options and earlier turns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tasks.formats.raw_example import RawExample, RowError, brief, printable
from tasks.formats.values.answers import ANSWER, ANSWERS, FALLBACK, answer_and_references
from tasks.formats.values.boxes import Objects
from tasks.formats.values.columns import ID, PROMPT, SYSTEM
from tasks.formats.values.flags import check_row_flags
from tasks.formats.values.image_cells import IMAGES, images_of
from tasks.formats.values.image_marks import check_marks, fill_marks
from tasks.formats.values.noted_row import NotedRow, Row, first_value, is_empty, is_missing, sole
from tasks.formats.values.options import Options, listed_labels, options_of
from tasks.formats.values.texts import as_text, valid_utf8

__all__ = ["ANSWER", "ANSWERS", "FALLBACK", "PROMPT", "Row", "first_value", "question", "row_id"]

CAPTIONS = ("caption", "captions")
CAPTION_PROMPT = "A short image description."
"""InstructBLIP's prompt for captions (Dai et al. 2023, appendix E); `prompt:` of a task replaces it."""
BEFORE, AFTER = ("context", "hint", "passage"), ("input",)
"""Names of texts that belong before and after a question."""


def row_id(row: Any, number: int) -> str:
    """Return the row's id as text; `row-N` if it has no usable one."""
    value = first_value(row, ID) if hasattr(row, "get") else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # a column of numbers with a gap
    usable = isinstance(value, str | int) and not isinstance(value, bool) and str(value).strip()
    return printable(str(value)) if usable else f"row-{number}"


def question(row: NotedRow, number: int) -> tuple[RawExample, ...]:
    """Return the one example of a row with a question and its answers; raise `RowError` for a fault."""
    check_row_flags(row, conversation=False)
    prompt, options = prompt_and_options(row)
    answer, answers = answer_and_references(row, options)
    images, turns = images_of(row), history_of(row.get("history"))
    prompts, images = fill_marks([*(earlier for earlier, _ in turns), prompt], images)
    said = [answer for _, answer in turns]
    objects = Objects(row, len(images))
    texts = objects.fill(
        [text for turn in zip(prompts, [*said, answer], strict=True) for text in turn]
    )
    answers = (texts[-1],) if answers == (answer,) else answers
    prompts, said, system = texts[::2], texts[1:-1:2], system_of(row)
    check_marks(images, prompts, [texts[-1], *answers, system, *said])
    return (
        RawExample(
            id=row_id(row, number),
            images=images,
            prompt=prompts[-1],
            answer=texts[-1],
            answers=answers,
            history=tuple(zip(prompts[:-1], said, strict=True)),
            system=system,
            boxes=tuple(objects.boxes),
        ),
    )


def system_of(row: NotedRow) -> str:
    """Return the text in the system's role; an empty one is none."""
    value = sole(row, SYSTEM, "system", "system")
    return "" if is_empty(value) else as_text(value, "system")


def prompt_and_options(row: NotedRow) -> tuple[str, Options | None]:
    """Join the prompt's parts: context before it, input and options after it."""
    asked = sole(row, PROMPT, "prompt", "prompt")
    if is_missing(asked) and is_caption(row):
        asked = CAPTION_PROMPT
        row.say("captions without a question, asked for a short image description")
    parts = [as_text(asked, "prompt")]
    for name in reversed(BEFORE):
        if (text := _part(row, name)) and text not in parts[0]:
            parts.insert(0, text)
    parts += [text for name in AFTER if (text := _part(row, name))]
    options = options_of(row)
    if options:
        listed = listed_labels(options, "\n".join(parts))
        parts += [] if listed else options.lines()
        options = replace(options, labels=listed) if listed else options
    return "\n".join(parts), options


def is_caption(row: Row) -> bool:
    """Return whether a row has captions and an image, and neither a question nor another answer."""
    known = {key for key, value in row.items() if not is_missing(value)}
    captions = known.intersection(CAPTIONS)
    return bool(captions) and not known.isdisjoint(IMAGES) and known.isdisjoint((*PROMPT, *ANSWER))


def _part(row: NotedRow, name: str) -> str:
    """Return a text that belongs to the question; empty if the row has none."""
    if name not in row or is_empty(row.peek(name)):
        return ""
    value = row[name]
    if isinstance(value, str):
        return valid_utf8(value, name)
    if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
        return valid_utf8("\n".join(value), name)
    return as_text(value, name)


def history_of(value: Any) -> tuple[tuple[str, str], ...]:
    """Return earlier turns, given as [[prompt, answer], ...] in ms-swift's older data."""
    if is_missing(value) or is_empty(value):
        return ()
    pairs = value if isinstance(value, list | tuple) else [value]
    if any(not isinstance(pair, list | tuple) or len(pair) != 2 for pair in pairs):
        raise RowError("history is no list of [prompt, answer]", brief(value))
    return tuple((as_text(one, "prompt"), as_text(other, "answer")) for one, other in pairs)
