"""Grounding: the box around what is asked for, "[x1, y1, x2, y2]".

A bracket that holds exactly four numbers is a box, and so are brackets side by side that hold four in
all: "(x1, y1), (x2, y2)". The first box of a text counts. Without one, it is the first run of four
numbers, else of more, apart from a list's number at the start of a line.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

Box = tuple[float, float, float, float]
ENOUGH = 0.5
CORNERS = 4
"""Numbers of a box."""

# Possessive throughout, so that no text takes longer than its length asks for.
NUMBER = r"[-+]?(?:\d++(?:\.\d*+)?|\.\d++)(?:[eE][-+]?\d++)?"
STRICT = re.compile(rf"\[\s*+{NUMBER}(?:\s*+,\s*+{NUMBER}){{3}}\s*+\]\.?")
"""Pattern of a box with nothing around it."""
_TOKEN = re.compile(
    rf"(?P<number>{NUMBER})|(?P<open>[\[(<{{])|(?P<close>[\])>}}])|(?P<gap>[\s,;]++)|(?P<word>\w++|.)",
    re.DOTALL,
)
_ITEM = re.compile(r"^[ \t]*+\d++[.)](?=\s)", re.MULTILINE)  # 1. or 2) of a list
_WIDE = str.maketrans(
    "\uff3b\uff3d\uff08\uff09\uff1c\uff1e\uff5b\uff5d\uff0c\uff1b\u2212", "[]()<>{},;-"
)
"""Brackets and separators of Chinese, and the sign of minus."""


def grounding_accuracy(prediction: str, references: Sequence[str]) -> float:
    """Score 1 if the box overlaps a reference box by half of their union or more (Acc@0.5), else 0.

    Corners are left, top, right, bottom. They are compared as they stand, in shares, thousandths or pixels.
    A box in other units than the reference's is wrong, as in CoIN's script and lmms-eval's of RefCOCO. A
    text without a box scores 0, and so does a box whose corners are the wrong way round. CoIN's own
    script asks for more than half; half is enough on the RefCOCO sets.
    """
    predicted = box(prediction)
    if predicted is None:
        return 0.0
    others = (match for reference in references if (match := box(reference)))
    return float(any(overlap(predicted, other) >= ENOUGH for other in others))


def box(text: str) -> Box | None:
    """Return the box of a text; None without one, and if its corners are the wrong way round."""
    text = text.translate(_WIDE)
    numbers = next(_in_brackets(text), None) or _in_a_row(_ITEM.sub(" ", text))
    if numbers is None or not all(map(math.isfinite, numbers)):
        return None
    left, top, right, bottom = numbers
    return (left, top, right, bottom) if left < right and top < bottom else None


@dataclass
class _Bracket:
    """An open bracket: its numbers, and the numbers of its latest brackets side by side."""

    numbers: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)
    size: int = 0
    """Numbers in each of the brackets side by side."""
    pure: bool = True
    """True while it holds nothing but numbers, brackets and what separates them."""

    def break_off(self) -> None:
        """Note a word: what follows is not beside what came before."""
        self.pure, self.beside, self.size = False, [], 0

    def add(self, inner: _Bracket) -> None:
        """Add a bracket that was closed; more numbers than a box has are not counted."""
        numbers = inner.numbers if inner.pure else []
        self.pure &= inner.pure
        self.numbers = [*self.numbers, *numbers][: CORNERS + 1]
        if len(numbers) != self.size or len(self.beside) >= CORNERS:
            self.beside, self.size = [], len(numbers)
        self.beside = [*self.beside, *numbers] if self.size in (1, 2) else []


def _in_brackets(text: str) -> Iterator[list[float]]:
    """Yield the numbers of each box in brackets."""
    open_brackets = [_Bracket()]
    for token in _TOKEN.finditer(text):
        bracket = open_brackets[-1]
        if token.lastgroup == "open":
            open_brackets.append(_Bracket())
        elif token.lastgroup == "close" and len(open_brackets) > 1:
            inner, outer = open_brackets.pop(), open_brackets[-1]
            outer.add(inner)
            if inner.pure and len(inner.numbers) == CORNERS:
                yield inner.numbers
            elif len(outer.beside) == CORNERS:
                yield outer.beside
        elif token.lastgroup == "number" and _stands_alone(text, token):
            if len(bracket.numbers) <= CORNERS:
                bracket.numbers.append(float(token[0]))
            bracket.beside, bracket.size = [], 0
        elif token.lastgroup != "gap":
            bracket.break_off()


def _in_a_row(text: str) -> list[float] | None:
    """Return the first run of four numbers, else the first four of a longer run."""
    runs: list[list[float]] = [[]]
    for token in _TOKEN.finditer(text):
        if token.lastgroup == "number" and _stands_alone(text, token):
            runs[-1].append(float(token[0]))
        elif token.lastgroup in ("word", "number") and runs[-1]:
            runs.append([])
    long = sorted((run for run in runs if len(run) >= CORNERS), key=lambda run: len(run) > CORNERS)
    return long[0][:CORNERS] if long else None


def _stands_alone(text: str, number: re.Match[str]) -> bool:
    """Return False for the digits of a word, a date or a version, which have others beside them."""
    start, end = number.span()
    before, after = text[max(0, start - 1) : start], text[end : end + 1]
    return not (before.isalnum() or before == "." or after.isalnum() or after in ("-", "+", "/"))


def overlap(one: Box, other: Box) -> float:
    """Return the intersection over union of two boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0.0) * max(height, 0.0)
    union = _area(one) + _area(other) - shared
    return shared / union if union else 0.0


def _area(one: Box) -> float:
    return (one[2] - one[0]) * (one[3] - one[1])


def box_plain(text: str) -> str:
    """Return the box as text; empty if there is none."""
    return str(box(text) or "")
