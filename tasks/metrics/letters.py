"""Multiple choice: the letter that an answer chooses, as ScienceQA's and LLaVA's evaluations read it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tasks.metrics.metric import Answered, Scores, mean
from tasks.metrics.texts import plain

_ALONE = re.compile(r"\(?([A-Za-z])\)?[.:,)]?")  # B, b, (B), B.
_LED_BY = re.compile(r"\(?([A-Z])[.:)]\s")  # B. a dog, (B) a dog
_SAID = re.compile(  # The answer is B. / Answer: (B) / option B
    r"\b(?i:answer|option|choice)(?i:\s+is)?(?i:\s+option)?\s*:?\s*\(?([A-Z])(?![\w'])"
)
_MARK = re.compile(r"(?:^|(?<=\s))\(?([A-Z])[.:)]\s+")


def multiple_choice(answered: Sequence[Answered]) -> Scores:
    """1 where the letter chosen is the right one, or the option's text is given instead."""
    each = [float(_right(one)) for one in answered]
    return Scores(mean(each), each)


def _right(one: Answered) -> bool:
    options = options_of(one.prompt)
    right = {choice(reference, options) for reference in one.references} - {None}
    said = choice(one.prediction, options)
    if said is not None and right:
        return said in right
    return plain(one.prediction) in {plain(reference) for reference in one.references}


def choice(text: str, options: dict[str, str] | None = None) -> str | None:
    """The letter that a text chooses: said alone, leading, in words, or by its option's own text."""
    text = text.strip()
    if found := _ALONE.fullmatch(text):
        return found[1].upper()
    named = [letter for letter, option in (options or {}).items() if plain(option) == plain(text)]
    if len(named) == 1:
        return named[0]
    if found := _LED_BY.match(text):
        return found[1]
    said = set(_SAID.findall(text))
    return said.pop() if len(said) == 1 else None


def options_of(prompt: str) -> dict[str, str]:
    """The options that a prompt lists, "A. a dog" or "(A) a dog", in lines or in a row, by letter."""
    marks, expected = [], "A"
    for mark in _MARK.finditer(prompt):
        if mark[1] == expected:
            marks.append(mark)
            expected = chr(ord(expected) + 1)
    if len(marks) < 2:
        return {}
    ends = [mark.start() for mark in marks[1:]] + [len(prompt)]
    texts = [prompt[mark.end() : end].strip() for mark, end in zip(marks, ends, strict=True)]
    lines = [text.partition("\n")[0].strip() for text in texts]
    return {mark[1]: line for mark, line in zip(marks, lines, strict=True)}


def letter_plain(text: str) -> str:
    """The letter chosen, or the text as `plain` leaves it."""
    return choice(text) or plain(text)
