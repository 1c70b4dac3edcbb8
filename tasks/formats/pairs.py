"""Plain rows of a question and its answer, with or without images, as JSON or JSON Lines.

{"image": "1.jpg", "prompt": "What is it?", "answer": "cat"}
{"question": "2 + 2?", "answer": 4}
"""

from __future__ import annotations

from tasks.formats.fields import ANSWER, ANSWERS, FALLBACK, PROMPT, first_value, is_caption
from tasks.formats.fields import question as examples
from tasks.formats.values.answers import PLACES
from tasks.formats.values.noted_row import Row

NAME = "pairs"
TITLE = "pairs: prompt (or question), answer (or answers), image"


def fits(row: Row) -> bool:
    """Return whether a row looks like one of this format."""
    answers = (*ANSWER, *ANSWERS, *PLACES, *FALLBACK)
    asked = first_value(row, PROMPT) is not None and first_value(row, answers) is not None
    return asked or is_caption(row)


__all__ = ["NAME", "TITLE", "examples", "fits"]
