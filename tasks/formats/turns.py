"""Conversations: one example for every turn of the assistant, the turns before it as its history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tasks.data.rows import IMAGE
from tasks.formats.fields import Row, as_references, check_marks, first, references, row_name, text
from tasks.formats.record import Record, Reference, Refused, shown

_ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant"}
_ROLES |= {"model": "assistant", "bot": "assistant", "system": "system"}


def conversation(row: Row, number: int, turns: Any) -> tuple[Record, ...]:
    """The examples of a row whose turns are {from, value} or {role, content}."""
    if not isinstance(turns, list | tuple) or not turns:
        raise Refused("the conversation has no turns", shown(turns))
    inside: list[Reference] = []
    said = [_turn(turn, inside) for turn in turns]
    images = tuple(inside) or references(row)
    system = row.get("system")
    system = text(system, "system") if system else ""
    if said[0][0] == "system":
        system, said = said[0][1], said[1:]
    pairs = _pairs(said)
    check_marks(images, [p for p, _ in pairs], [system, *(a for _, a in pairs)])
    return tuple(_records(row_name(row, number), images, pairs, system))


def _turn(turn: Any, inside: list[Reference]) -> tuple[str, str]:
    """Role and text of a turn; images among the parts of its content are put into `inside`."""
    if not isinstance(turn, dict):
        raise Refused("a turn is no object", shown(turn))
    role = first(turn, ("from", "role"))
    known = _ROLES.get(role.lower()) if isinstance(role, str) else None
    if known is None:
        raise Refused("a turn's role is not known", shown(role))
    content = first(turn, ("value", "content"))
    if isinstance(content, list | tuple):
        content = "".join(_part(part, inside) for part in content)
    return known, text(content, {"user": "prompt", "assistant": "answer"}.get(known, known))


def _part(part: Any, inside: list[Reference]) -> str:
    """A part of a content that is written as a list, as a text with a mark for an image."""
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text":
        return text(part.get("text"), "prompt")
    if kind not in ("image", "image_url"):
        raise Refused("a part of a turn is neither text nor image", shown(part))
    value = first(part, ("image", "image_url", "url", "path"))
    inside.extend(as_references(value))
    return IMAGE


def _pairs(said: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """(prompt, answer) of every exchange.

    What an assistant says before it is asked, and a last question without an answer, are left out, as
    LLaVA's own training does with such conversations of ShareGPT.
    """
    if len(said) > 2 and said[0][0] == "assistant":
        said = said[1:]
    if len(said) > 2 and said[-1][0] == "user" and IMAGE not in said[-1][1]:
        said = said[:-1]
    roles = [role for role, _ in said]
    if not roles or roles != ["user", "assistant"] * (len(roles) // 2):
        raise Refused("turns must be user, assistant, user, ...", ", ".join(roles[:6]) or "none")
    texts = [said_text for _, said_text in said]
    return list(zip(texts[::2], texts[1::2], strict=True))


def _records(
    name: str, images: tuple[Reference, ...], pairs: list[tuple[str, str]], system: str
) -> list[Record]:
    """An example has the images whose marks come up to its prompt, or all where there are no marks."""
    marks = [prompt.count(IMAGE) for prompt, _ in pairs]
    records = []
    for turn, (prompt, answer) in enumerate(pairs):
        seen = sum(marks[: turn + 1]) if any(marks) else len(images)
        records.append(
            Record(
                id=name if len(pairs) == 1 else f"{name}-{turn + 1}",
                images=images[:seen],
                prompt=prompt,
                answer=answer,
                answers=(answer,),
                history=tuple(pairs[:turn]),
                system=system,
            )
        )
    return records
