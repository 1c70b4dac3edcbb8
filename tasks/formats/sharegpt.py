"""LLaMA-Factory's sharegpt data: LLaVA's turns, with a list `images` and an optional `system` text.

{"conversations": [{"from": "human", "value": "<image>What is it?"},
    {"from": "gpt", "value": "A cat."}], "images": ["1.jpg"]}
"""

from __future__ import annotations

from tasks.formats.llava import examples
from tasks.formats.turns import looks_like_turns
from tasks.formats.values.noted_row import Row

NAME = "sharegpt"
TITLE = "LLaMA-Factory sharegpt: conversations of {from, value}, images"


def fits(row: Row) -> bool:
    """Return whether a row looks like one of this format."""
    turns = looks_like_turns(row.get("conversations"))
    return turns and isinstance(row.get("images"), list | str)


__all__ = ["NAME", "TITLE", "examples", "fits"]
