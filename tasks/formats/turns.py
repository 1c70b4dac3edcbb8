"""Conversations: one example for every turn of the assistant; the turns before it are its history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tasks.data.rows import IMAGE
from tasks.formats.fields import (
    Row,
    as_references,
    as_text,
    check_marks,
    first_value,
    images_of,
    row_id,
)
from tasks.formats.raw_example import ImageReference, RawExample, RowError, brief

_ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant"}
_ROLES |= {"model": "assistant", "bot": "assistant", "system": "system"}


def conversation(row: Row, number: int, turns: Any) -> tuple[RawExample, ...]:
    """Return the examples of a row whose turns are {from, value} or {role, content}."""
    if not isinstance(turns, list | tuple) or not turns:
        raise RowError("the conversation has no turns", brief(turns))
    inside: list[ImageReference] = []
    parsed = [_turn(turn, inside) for turn in turns]
    images = tuple(inside) or images_of(row)
    system = row.get("system")
    system = as_text(system, "system") if system else ""
    if parsed[0][0] == "system":
        system, parsed = parsed[0][1], parsed[1:]
    pairs = _pairs(parsed)
    check_marks(images, [p for p, _ in pairs], [system, *(a for _, a in pairs)])
    return tuple(_examples(row_id(row, number), images, pairs, system))


def _turn(turn: Any, inside: list[ImageReference]) -> tuple[str, str]:
    """Return role and text of a turn; images among the parts of its content are added to `inside`."""
    if not isinstance(turn, dict):
        raise RowError("a turn is no object", brief(turn))
    role = first_value(turn, ("from", "role"))
    known = _ROLES.get(role.lower()) if isinstance(role, str) else None
    if known is None:
        raise RowError("a turn's role is not known", brief(role))
    content = first_value(turn, ("value", "content"))
    if isinstance(content, list | tuple):
        content = "".join(_part(part, inside) for part in content)
    return known, as_text(content, {"user": "prompt", "assistant": "answer"}.get(known, known))


def _part(part: Any, inside: list[ImageReference]) -> str:
    """Return a part of a list of contents as text: a mark for an image."""
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text":
        return as_text(part.get("text"), "prompt")
    if kind not in ("image", "image_url"):
        raise RowError("a part of a turn is neither text nor image", brief(part))
    value = first_value(part, ("image", "image_url", "url", "path"))
    inside.extend(as_references(value))
    return IMAGE


def _pairs(turns: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return (prompt, answer) of every exchange.

    An answer before the first question is left out, and so is a last question without an answer.
    LLaVA's own training treats such conversations of ShareGPT alike.
    """
    if len(turns) > 2 and turns[0][0] == "assistant":
        turns = turns[1:]
    if len(turns) > 2 and turns[-1][0] == "user" and IMAGE not in turns[-1][1]:
        turns = turns[:-1]
    roles = [role for role, _ in turns]
    if not roles or roles != ["user", "assistant"] * (len(roles) // 2):
        raise RowError("turns must be user, assistant, user, ...", ", ".join(roles[:6]) or "none")
    texts = [content for _, content in turns]
    return list(zip(texts[::2], texts[1::2], strict=True))


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
