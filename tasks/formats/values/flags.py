"""Flags of rows and turns that change what is trained: obeyed, or the row is refused."""

from __future__ import annotations

from typing import Any

from tasks.formats.raw_example import RowError, brief
from tasks.formats.values.noted_row import NotedRow, is_empty

UNSUPPORTED = {
    **dict.fromkeys(("video", "videos", "audio", "audios"), "is not supported"),
    **dict.fromkeys(
        ("tools", "functions", "tool_calls", "function_call", "tool_call_id"),
        "is not supported: the model would have to call functions",
    ),
    **dict.fromkeys(
        (
            *("chosen", "rejected", "rejected_response", "rejected_messages", "rejected_images"),
            *("positive_messages", "negative_messages", "chosen_messages"),
        ),
        "is not supported: preferences are not trained",
    ),
}
"""Keys whose values no example can hold; empty ones are no fault."""
_UNSUPPORTED = tuple(UNSUPPORTED)
WEIGHTS = ("weight", "loss", "train", "trainable", "loss_weight", "loss_scale", "sample_weight")
"""Keys by which other frameworks leave a turn or row out of training, or weigh it."""
VERDICTS = ("kto_tag", "label")
"""Keys that say of a whole row whether its answer is a good one."""
_WORDS = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0, "1.0": 1.0, "0.0": 0.0}


def check_row_flags(row: NotedRow, conversation: bool) -> None:
    """Raise `RowError` for a row that holds what cannot be trained, or must not be."""
    refuse_unsupported(row)
    if not is_trained(row):
        raise RowError(
            "the row must not be trained: its weight is 0", ", ".join(row.present(WEIGHTS))
        )
    for name, value in row.present(VERDICTS).items():
        is_verdict = isinstance(value, bool) or name == "kto_tag" or conversation
        if is_verdict and value is not True and not is_empty(value):
            raise RowError(
                "the row must not be trained as a good answer",
                f"{name}: {brief(value)}; {_out(name)}",
            )
        if is_verdict:
            row[name]  # it has been read


def refuse_unsupported(row: NotedRow) -> None:
    """Raise `RowError` for keys of videos, sounds, functions and preferences that have a value."""
    for name, value in row.present(_UNSUPPORTED).items():
        if not is_empty(value):
            raise RowError(f"{name} {UNSUPPORTED[name]}", _out(name))


def is_trained(row: NotedRow) -> bool:
    """Return whether a row or turn is to be trained; raise `RowError` for a weight between."""
    weights = {name: weight_of(name, value) for name, value in row.present(WEIGHTS).items()}
    for name in weights:
        row[name]  # it has been read
    return all(weights.values())


def weight_of(name: str, value: Any) -> bool:
    """Return whether a flag lets something be trained; raise `RowError` if it weighs it."""
    weight = _WORDS.get(value.strip().lower()) if isinstance(value, str) else value
    if value == "" or weight in (0, 1):  # True and False are equal to them
        return value == "" or bool(weight)
    raise RowError(f"{name} must be 0 or 1, true or false", f"{brief(value)}; {_out(name)}")


def _out(name: str) -> str:
    return f"columns: {{ignore: [{name}]}} would leave the column out"
