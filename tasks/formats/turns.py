"""Conversations: one example for every turn of the assistant; the turns before it are its history."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tasks.data.placeholders import visible
from tasks.data.rows import IMAGE
from tasks.formats.fields import ANSWER, ANSWERS, PROMPT, question, row_id, system_of
from tasks.formats.raw_example import ImageReference, RawExample, RowError, brief
from tasks.formats.values.boxes import Objects
from tasks.formats.values.flags import check_row_flags, is_trained, refuse_unsupported
from tasks.formats.values.image_cells import images_of
from tasks.formats.values.image_marks import check_marks, fill_marks
from tasks.formats.values.noted_row import NESTED, NotedRow, is_missing, sole
from tasks.formats.values.parts import content_of
from tasks.formats.values.texts import as_text

_ROLES = {
    **dict.fromkeys(("human", "user"), "user"),
    **dict.fromkeys(("gpt", "assistant", "model", "bot", "chatgpt", "ai"), "assistant"),
    **dict.fromkeys(("system", "developer"), "system"),
}
_CALLS = (
    "tool",
    "function",
    "function_call",
    "tool_call",
    "tool_response",
    "observation",
    "ipython",
)
_TEXTS = {"user": "prompt", "assistant": "answer", "system": "system"}


@dataclass(frozen=True)
class Turn:
    """One turn of a conversation."""

    role: str
    text: str
    images: tuple[ImageReference | None, ...] = ()
    """Image of each mark in the text; None where the row's own images hold it."""
    trained: bool = True


def turns_of(value: Any) -> Any:
    """Return a row's turns, also those that a table has as a text of JSON."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    if isinstance(value, Mapping) and _are_columns(list(value.values())):
        return [dict(zip(value, turn, strict=True)) for turn in zip(*value.values(), strict=True)]
    return value


def _are_columns(values: list[Any]) -> bool:
    """Return whether values are lists of one length, as Hugging Face's `Sequence` holds turns."""
    lists = [value for value in values if isinstance(value, list)]
    return len(lists) == len(values) > 0 and len({len(one) for one in lists}) == 1


def looks_like_turns(value: Any) -> bool:
    """Return whether a value is a list of turns, or a text of JSON that may hold one."""
    return isinstance(value, list | Mapping) or (
        isinstance(value, str) and value.lstrip().startswith("[")
    )


def conversation(row: NotedRow, number: int, name: str) -> tuple[RawExample, ...]:
    """Return the examples of a row whose turns, under `name`, are {from, value} or {role, content}."""
    check_row_flags(row, conversation=True)
    given = turns_of(row.get(name))
    if is_missing(given) and row.present(PROMPT) and row.present((*ANSWER, *ANSWERS)):
        row.say("rows without turns, read as a question and its answer")
        return question(row, number)
    if is_missing(given):
        raise RowError(f"the row has no {name}", "keys: " + ", ".join(map(str, row))[:200])
    if not isinstance(given, list | tuple) or not given:
        raise RowError("the conversation has no turns", brief(given))
    read = [_turn(row, name, turn, last=turn is given[-1]) for turn in given]
    system, turns = _system(row, [turn for turn in read if turn is not None])
    turns = _exchanges(row, _joined(turns))
    images = _images(row, turns)
    prompts, images = fill_marks([turn.text for turn in turns[::2]], images)
    said = [turn.text for turn in turns[1::2]]
    objects = Objects(row, len(images))
    texts = objects.fill([text for pair in zip(prompts, said, strict=True) for text in pair])
    prompts, said = texts[::2], texts[1::2]
    check_marks(images, prompts, [system, *said])
    pairs = list(zip(prompts, said, strict=True))
    examples = _examples(row_id(row, number), images, pairs, system)
    boxes = tuple(objects.boxes)
    trained = [turn.trained for turn in turns[1::2]]
    kept = [replace(one, boxes=boxes) for one, use in zip(examples, trained, strict=True) if use]
    if not kept:
        raise RowError("no answer of the row is to be trained", "each one has weight 0")
    return tuple(kept)


def _turn(row: NotedRow, name: str, given: Any, last: bool) -> Turn | None:
    """Return a turn; None for one without any content that may be left out."""
    if not isinstance(given, Mapping):
        raise RowError("a turn is no object", brief(given))
    turn = row.inner(f"{name}{NESTED}", given)
    refuse_unsupported(turn)
    role = _role(sole(turn, ("from", "role"), "role", "turns"))
    value = sole(turn, ("value", "content"), "content of a turn", "turns")
    trained = _is_trained(turn, role)
    content = content_of(turn, value, images_of(turn))
    if not visible(content.text) and not content.images:
        if role == "system" or (role == "user" and last):
            return None
        raise RowError(f"{'no' if is_missing(value) else 'empty'} {_TEXTS[role]}")
    return Turn(role, as_text(content.text, _TEXTS[role]), content.images, trained)


def _role(given: Any) -> str:
    name = given.strip().lower() if isinstance(given, str) else ""
    if name in _CALLS:
        raise RowError("a turn's role is not known", f"{name}: calls of functions are not trained")
    if name not in _ROLES:
        raise RowError("a turn's role is not known", brief(given))
    return _ROLES[name]


def _is_trained(turn: NotedRow, role: str) -> bool:
    """Return whether a turn's answer is to be trained; only answers are."""
    flags = {name for name in turn.present(("loss", "train", "trainable")) if role != "assistant"}
    trained = is_trained(turn)
    if trained and flags:
        raise RowError("only answers are trained", f"a turn of the {role} has {', '.join(flags)}")
    return trained


def _system(row: NotedRow, turns: Sequence[Turn]) -> tuple[str, list[Turn]]:
    """Return the system's text, of the row or of the turns before all others, and the other turns."""
    count = next((n for n, turn in enumerate(turns) if turn.role != "system"), len(turns))
    told, own = "\n".join(turn.text for turn in turns[:count]), system_of(row)
    if told and own and told != own:
        raise RowError("two system texts differ", f"{brief(own)} and {brief(told)}")
    if any(turn.role == "system" for turn in turns[count:]):
        raise RowError("a system turn within the conversation", "put it in front")
    return told or own, list(turns[count:])


def _joined(turns: Sequence[Turn]) -> list[Turn]:
    """Join turns of the user in a row, a line each, as OpenAI's rows have them."""
    joined: list[Turn] = []
    for turn in turns:
        before = joined[-1] if joined else None
        if before is None or before.role != turn.role:
            joined.append(turn)
            continue
        if turn.role != "user":
            raise RowError("two answers in a row", "join them, or put the question between them")
        text, images = f"{before.text}\n{turn.text}", before.images + turn.images
        joined[-1] = Turn("user", text, images)
    return joined


def _exchanges(row: NotedRow, turns: list[Turn]) -> list[Turn]:
    """Return the turns from the first question to the last answer.

    LLaVA's own training treats such conversations of ShareGPT alike.
    """
    if len(turns) > 2 and turns[0].role == "assistant":
        row.say("an answer before the first question")
        turns = turns[1:]
    if len(turns) > 2 and turns[-1].role == "user" and IMAGE not in turns[-1].text:
        row.say("a last question without an answer")
        turns = turns[:-1]
    roles = [turn.role for turn in turns]
    if not roles or roles != ["user", "assistant"] * (len(roles) // 2):
        raise RowError("turns must be user, assistant, user, ...", ", ".join(roles[:6]) or "none")
    return turns


def _images(row: NotedRow, turns: Sequence[Turn]) -> tuple[ImageReference, ...]:
    """Return the images in the order of their marks: those within turns, and the row's own."""
    marked = [image for turn in turns for image in turn.images]
    own = images_of(row)
    inside = tuple(image for image in marked if image is not None)
    if not inside or inside == own:
        return own
    lacking = len(marked) - len(inside)
    if len(own) != lacking:
        what = f"{lacking} and {len(own)}"
        raise RowError("marks without an image of their own differ from the row's images", what)
    rest = iter(own)
    return tuple(next(rest) if image is None else image for image in marked)


def _examples(
    name: str, images: tuple[ImageReference, ...], pairs: list[tuple[str, str]], system: str
) -> list[RawExample]:
    """Make an example of each answer, with the images marked so far, or all if there are no marks."""
    marks = [prompt.count(IMAGE) for prompt, _ in pairs]
    examples = []
    for turn, (prompt, answer) in enumerate(pairs):
        count = sum(marks[: turn + 1]) if any(marks) else len(images)
        examples.append(
            RawExample(
                id=name if len(pairs) == 1 else f"{name}-{turn + 1}",
                images=images[:count],
                prompt=prompt,
                answer=answer,
                answers=(answer,),
                history=tuple(pairs[:turn]),
                system=system,
            )
        )
    return examples
