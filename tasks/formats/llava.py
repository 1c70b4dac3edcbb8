"""LLaVA's training data: a conversation of turns {from, value} and the path of an image.

{"id": "1", "image": "coco/1.jpg", "conversations": [
    {"from": "human", "value": "<image>\\nWhat is it?"}, {"from": "gpt", "value": "A cat."}]}
"""

from __future__ import annotations

from tasks.formats.raw_example import RawExample
from tasks.formats.turns import conversation, looks_like_turns
from tasks.formats.values.noted_row import NotedRow, Row

NAME = "llava"
TITLE = "LLaVA: conversations of {from, value}, image"


def fits(row: Row) -> bool:
    """Return whether a row looks like one of this format."""
    return looks_like_turns(row.get("conversations")) and not row.get("images")


def examples(row: NotedRow, number: int) -> tuple[RawExample, ...]:
    """Return an example for every answer; raise `RowError` for a fault."""
    return conversation(row, number, "conversations")
