"""Values of a row in the many forms that users write; a value without a clear meaning is a `RowError`."""

from __future__ import annotations

import base64
import binascii
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tasks.data.rows import IMAGE
from tasks.formats.raw_example import ImageReference, RawExample, RowError, brief, printable

Row = Mapping[str, Any]

ID = ("id", "question_id", "questionId", "uid", "sample_id")
PROMPT = ("prompt", "question", "query", "instruction", "problem", "text")
ANSWER = ("answer", "response", "output", "solution", "multiple_choice_answer", "caption")
ANSWERS = ("answers", "captions")
IMAGES = ("image", "images", "img", "picture", "image_path", "image_file", "file_name")
NO_IMAGE = ({"bytes": None, "path": None}, {"bytes": None}, {"path": None})
"""Cells of a row without an image, in a table with a column of images."""
OPTIONS = ("choices", "options")
UNSUPPORTED = ("video", "videos", "audio", "audios")


def first_value(row: Row, names: Iterable[str]) -> Any:
    """Return the value under the first of the names that has one; None if none has."""
    return next((row[name] for name in names if row.get(name) is not None), None)


def as_text(value: Any, what: str) -> str:
    """Return a value as text, numbers too; raise `RowError` if it is empty or no text."""
    if value is None:
        raise RowError(f"no {what}")
    if isinstance(value, int | float) and not isinstance(value, bool) and _finite(value):
        return str(value)
    if not isinstance(value, str):
        raise RowError(f"{what} is no text", brief(value))
    if not value.strip():
        raise RowError(f"empty {what}")
    return valid_utf8(value, what)


def _finite(value: float) -> bool:
    return isinstance(value, int) or math.isfinite(value)


def valid_utf8(value: str, what: str) -> str:
    """Return the text itself; raise `RowError` if no UTF-8 file could hold it."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise RowError(f"{what} is no valid UTF-8", brief(value)) from None
    return value


def row_id(row: Any, number: int) -> str:
    """Return the row's id as text; `row-N` if it has no usable one."""
    value = first_value(row, ID) if isinstance(row, Mapping) else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # a column of numbers with a gap
    usable = isinstance(value, str | int) and not isinstance(value, bool) and str(value).strip()
    return printable(str(value)) if usable else f"row-{number}"


def images_of(row: Row) -> tuple[ImageReference, ...]:
    """Return the references to a row's images, under any of the known names."""
    unsupported = [name for name in UNSUPPORTED if row.get(name)]
    if unsupported:
        raise RowError(f"{unsupported[0]} is not supported")
    given = {name: references for name in IMAGES if (references := as_references(row.get(name)))}
    if len(set(given.values())) > 1:
        raise RowError("images under several names", ", ".join(given))
    return next(iter(given.values()), ())


def as_references(value: Any) -> tuple[ImageReference, ...]:
    """Return the references in a value: a path, `data:` URI, bytes, {bytes, path}, or a list of them."""
    if value is None or value == "" or value == [] or value in NO_IMAGE:
        return ()
    if isinstance(value, list | tuple):
        return tuple(_reference(one) for one in value)
    return (_reference(value),)


def _reference(value: Any) -> ImageReference:
    if isinstance(value, Mapping):
        data, path = value.get("bytes"), first_value(value, ("path", "url"))
        if isinstance(data, str) and data:
            return _decoded(data)
        value = path if data in (None, "", b"") else data
    if isinstance(value, str) and value.strip():
        return valid_utf8(value, "image")
    if isinstance(value, bytes) and value:
        return value
    raise RowError("image is neither a path nor bytes", brief(value))


def _decoded(data: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RowError("image bytes are no base64", str(error)) from error


def check_marks(
    images: Sequence[ImageReference], prompts: Iterable[str], others: Iterable[str]
) -> None:
    """Raise `RowError` unless prompts have as many marks as images, or none, and `others` have none."""
    if any(IMAGE in other for other in others):
        raise RowError(f"{IMAGE} outside a prompt")
    marks = sum(prompt.count(IMAGE) for prompt in prompts)
    if marks not in (0, len(images)):
        raise RowError(f"number of {IMAGE} marks differs from images", f"{marks} and {len(images)}")


def answer_and_references(row: Row) -> tuple[str, tuple[str, ...]]:
    """Return the answer to train on, and all answers that count as right.

    Of a list alone, the most frequent answer is trained on; of equally frequent ones, the first.
    """
    answer, several = first_value(row, ANSWER), first_value(row, ANSWERS)
    if isinstance(answer, list | tuple | Mapping):
        answer, several = None, answer if several is None else several
    if row.get("choices") is not None and isinstance(answer, int):
        raise RowError("answer is a number among choices", "write out the choices and the letter")
    texts = tuple(as_text(one, "answer") for one in _listed(several))
    if answer is None and texts:
        return Counter(texts).most_common(1)[0][0], texts
    answer = as_text(answer, "answer")
    return answer, texts or (answer,)


def _listed(several: Any) -> Iterable[Any]:
    """Return the texts of ["a"], [{"answer": "a"}], {"text": ["a"]} or "a"."""
    if isinstance(several, Mapping):
        several = first_value(several, ("text", *ANSWER, *ANSWERS))
    if several is None:
        return ()
    if not isinstance(several, list | tuple):
        return (several,)
    return [first_value(one, ANSWER) if isinstance(one, Mapping) else one for one in several]


def question(row: Row, number: int) -> tuple[RawExample, ...]:
    """Return the one example of a row with a question and its answers; raise `RowError` for a fault."""
    images, prompt = images_of(row), full_prompt(row)
    answer, answers = answer_and_references(row)
    system = row.get("system")
    system = as_text(system, "system") if system else ""
    turns = history_of(row.get("history"))
    others = [answer, *answers, system, *(answer_text for _, answer_text in turns)]
    check_marks(images, [*(prompt for prompt, _ in turns), prompt], others)
    return (RawExample(row_id(row, number), images, prompt, answer, answers, turns, system),)


def full_prompt(row: Row) -> str:
    """Join the prompt's parts: context before it, input and options after it."""
    parts = [as_text(first_value(row, PROMPT), "prompt")]
    if (context := row.get("context")) and isinstance(context, str) and context not in parts[0]:
        parts.insert(0, valid_utf8(context, "context"))
    if (given := row.get("input")) and isinstance(given, str) and given.strip():  # alpaca's form
        parts.append(valid_utf8(given, "input"))
    options = first_value(row, OPTIONS)
    if isinstance(options, list | tuple) and options:
        names = [as_text(option, "option") for option in options]
        if not all(name in "\n".join(parts) for name in names):
            parts += [f"{chr(ord('A') + n)}. {name}" for n, name in enumerate(names)]
    return "\n".join(parts)


def history_of(value: Any) -> tuple[tuple[str, str], ...]:
    """Return earlier turns, given as [[prompt, answer], ...] in ms-swift's older data."""
    if not value:
        return ()
    pairs = value if isinstance(value, list | tuple) else [value]
    if any(not isinstance(pair, list | tuple) or len(pair) != 2 for pair in pairs):
        raise RowError("history is no list of [prompt, answer]", brief(value))
    return tuple((as_text(one, "prompt"), as_text(other, "answer")) for one, other in pairs)
