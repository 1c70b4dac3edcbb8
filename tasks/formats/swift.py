"""ms-swift's data: messages of {role, content}, and images as paths, data: URIs or {bytes, path}.

    {"messages": [{"role": "user", "content": "<image>What is it?"},
        {"role": "assistant", "content": "A cat."}], "images": ["1.jpg"]}

A content may also be a list of parts {type: text, text} and {type: image, image}.
"""

from __future__ import annotations

from tasks.formats.fields import Row
from tasks.formats.raw_example import RawExample
from tasks.formats.turns import conversation

NAME = "swift"
TITLE = "ms-swift: messages of {role, content}, images"


def fits(row: Row) -> bool:
    """Return whether a row looks like one of this format."""
    return isinstance(row.get("messages"), list)


def examples(row: Row, number: int) -> tuple[RawExample, ...]:
    """Return an example for every answer; raise `RowError` for a fault."""
    return conversation(row, number, row.get("messages"))
