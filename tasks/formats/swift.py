"""ms-swift's data: messages of {role, content}, and images as paths, data: URIs or {bytes, path}.

    {"messages": [{"role": "user", "content": "<image>What is it?"},
        {"role": "assistant", "content": "A cat."}], "images": ["1.jpg"]}

A content may also be a list of parts {type: text, text} and {type: image, image}, OpenAI's too. For
grounding, `objects` holds the names and boxes that `<ref-object>` and `<bbox>` in the texts stand for.
"""

from __future__ import annotations

from tasks.formats.raw_example import RawExample
from tasks.formats.turns import conversation, looks_like_turns
from tasks.formats.values.noted_row import NotedRow, Row

NAME = "swift"
TITLE = "ms-swift: messages of {role, content}, images"


def fits(row: Row) -> bool:
    """Return whether a row looks like one of this format."""
    return looks_like_turns(row.get("messages"))


def examples(row: NotedRow, number: int) -> tuple[RawExample, ...]:
    """Return an example for every answer; raise `RowError` for a fault."""
    return conversation(row, number, "messages")
