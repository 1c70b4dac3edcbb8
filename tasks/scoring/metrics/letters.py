"""Multiple choice: the letter that an answer chooses.

Forms are those that ScienceQA's and LLaVA's evaluations read, and more. The rule that separates a letter
from the article "A" and the pronoun "I" is our own. The options' texts are tried first, and a letter
before a word counts only if it is marked as one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tasks.scoring.metrics.metric import AnsweredQuestion, Scores, mean
from tasks.scoring.metrics.texts import plain

_ALONE = re.compile(r"[(\[]?([A-Za-z])[)\]]?[.:,)]?")  # B, b, (B), [B], B.
_LED_BY = re.compile(
    r"[(\[]?([A-Za-z])(?:[.:)\]]|\s+[-\u2013])\s"
)  # B. a dog, (b) a dog, B - a dog
_LINE = re.compile(r"([A-Z])\s*\n")  # B, and the reason on the next line
_BECAUSE = re.compile(r"([B-HJ-Z])\s+(?:because|since|as)\b")
_LEAD = re.compile(  # The answer is ... / Answer: ... / option ...
    r"\b(?:answer|option|choice)(?:\s+is)?(?:\s+option)?\s*:?\s*(?=\S)", re.IGNORECASE
)
_ENDED = re.compile(r"[(\[]?([A-Za-z])(?:[)\].,:;!]|\s*$)")  # B at the end, or marked as a letter
_TAIL = re.compile(r"[(\[]([A-Z])[)\]][.!]?$")  # a dog (B)
_MARK = re.compile(r"(?:^|(?<=\s))[(\[]?([A-Za-z])[.:)\]]\s+")


UNCLEAR = "?"
"""Mark of a letter that may be a word."""


def multiple_choice(answered: Sequence[AnsweredQuestion]) -> Scores:
    """Score 1 if the chosen letter is the right one, or if its option's text is given instead."""
    each = [float(_right(one)) for one in answered]
    return Scores(mean(each), each)


def _right(one: AnsweredQuestion) -> bool:
    options = options_of(one.prompt)
    right = {choice(reference, options) for reference in one.references} - {None}
    chosen = choice(one.prediction, options)
    if chosen is not None and right:
        return chosen in right
    return plain(one.prediction) in {plain(reference) for reference in one.references}


def choice(text: str, options: dict[str, str] | None = None) -> str | None:
    """Return the letter that a text chooses: alone, by its option's text, at the start, or in words."""
    text, options = text.replace("*", "").strip(), options or {}
    letter = _alone(text) or _named(text, options)
    for form in () if letter else (_LED_BY, _LINE, _BECAUSE):
        match = form.match(text)
        letter = letter or (match[1].upper() if match else None)
    letter = letter or _in_words(text, options)
    if not letter and (match := _TAIL.search(text)):
        letter = match[1]
    return letter if not options or letter in options else None


def _alone(text: str) -> str | None:
    match = _ALONE.fullmatch(text)
    return match[1].upper() if match else None


def _named(text: str, options: dict[str, str]) -> str | None:
    """Return the one option that has this text, apart from an article."""
    bare = _bare(text)
    named = [letter for letter, option in options.items() if bare and _bare(option) == bare]
    return named[0] if len(named) == 1 else None


def _bare(text: str) -> str:
    return re.sub(r"^(?:a|an|the)\s+", "", plain(text))


def _in_words(text: str, options: dict[str, str]) -> str | None:
    """Return the letter after "the answer is" and similar words, if all of them agree."""
    letters = set()
    for lead in _LEAD.finditer(text):
        rest = text[lead.end() :]
        sentence = re.split(r"[.!\n](?:\s|$)", rest, maxsplit=1)[0]
        match = _ENDED.match(rest)
        unclear = UNCLEAR if re.match(r"[A-Z]\s", rest) else None
        letters.add(_named(sentence, options) or (match[1].upper() if match else unclear))
    letters -= {None}
    return letters.pop() if len(letters) == 1 and UNCLEAR not in letters else None


def options_of(prompt: str) -> dict[str, str]:
    """Return the options of a prompt by letter: "A. a dog" or "(A) a dog", in lines or in a row."""
    marks, expected = [], "A"
    for mark in _MARK.finditer(prompt):
        if mark[1].upper() == expected:
            marks.append(mark)
            expected = chr(ord(expected) + 1)
    if len(marks) < 2:
        return {}
    ends = [mark.start() for mark in marks[1:]] + [len(prompt)]
    texts = [prompt[mark.end() : end].strip() for mark, end in zip(marks, ends, strict=True)]
    lines = [text.partition("\n")[0].strip() for text in texts]
    return {mark[1].upper(): line for mark, line in zip(marks, lines, strict=True)}


def letter_plain(text: str) -> str:
    """Return the chosen letter, or the text after `plain`."""
    return choice(text) or plain(text)
