"""Multiple choice: the letter that an answer chooses.

Forms are those that ScienceQA's and LLaVA's evaluations read, and more. An option's text counts where it
is the whole answer, or the rest of a sentence after "it is"; "A fish is shown." chooses nothing. The rule
that separates a letter from the article "A" and the pronoun "I" is our own. The options' texts are tried
first, and a letter before a word counts only if it is marked as one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from tasks.scoring.metrics.metric import AnsweredQuestion, Scores, mean
from tasks.scoring.metrics.texts import plain

# All texts are read with single blanks, and possessively: in time that grows with their length alone.
_ALONE = re.compile(r"(?:[(\[{]\s?)?([A-Za-z])(?:\s?[)\]}])?[.:,;!)]?")  # B, b, (B), [B], B.
_LED_BY = re.compile(
    r"[(\[]?([A-Za-z])(?:(?:[.:)\]]| ?[-\u2013\u2014])\s|\)(?=\w)|[.:](?=[A-Za-z]{2}|[a-z] ))"
)  # B. a dog, (b) a dog, B - a dog, B.a dog
_LINE = re.compile(r"([A-Z]) ?\n")  # B, and the reason on the next line
_BECAUSE = re.compile(r"([B-HJ-Z]),? (?:because|since|as)\b")
_SENTENCE = re.compile(r"\(?([B-HJ-Z])[.,;!)]+ ")  # B. It is ... is _LED_BY; B, it is ...
_BE = r"(?:(?: would be| will be| should be| must be| has to be| is|'s| =)(?!\w))"
_SURE = (
    r"(?:,? (?:clearly|probably|likely|most likely|definitely|certainly|indeed|therefore|then),?)"
)
_NAMED = r"(?: (?:the )?(?:correct |right |best )?(?:option|letter|choice))"
_LEAD = re.compile(  # The answer is ... / Answer: ... / option ... / It's ... / I pick ...
    r"(?:\b(?:(?:answer|option|choice|letter|pick|ans\.?|response|solution)[\"']?"
    rf"(?: here| in this case| to (?:the|this) question)?{_SURE}?{_BE}?{_SURE}?(?: the)?{_NAMED}?"
    rf"|(?:it|that){_BE}{_SURE}?{_NAMED}?"
    r"|(?:i|i'd|i would|i will|i'll|i'm)(?: choose| pick| select| say| go with| go for| going with| think"
    rf"| guess| believe)(?: it's| it is)?{_NAMED}?)(?![a-z])"
    "|, (?=\\(?[B-HJ-Z]\\)? is (?:the )?(?:right|correct|true)\\b)"
    "|\u7b54\u6848|\u7b54\u3048\u306f|\\b\uc815?\ub2f5\uc740|[\u9009\u9078]"  # the answer, in CJK
    "[\u62e9\u64c7]?\u9879?)(?:\u5e94\u8be5)?[\u662f\u4e3a\u70ba]?(?:\u9009\u9879?)?"
    r" ?(?::|=|->|\u2192|[-\u2013\u2014])? ?(?:not \(?[A-Z]\)?,? but (?:rather )?)?(?=\S)",
    re.IGNORECASE,
)
_ENDED = re.compile(
    r"[(\[{\"']?([A-Za-z])(?:[)\]}\".,:;!?\n]|'(?!\w)|[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7a3]|$"
    r"| (?:because|since|as|is (?:right|correct|true))\b)"
)
"""Pattern of a letter at the end, or marked as one."""
_OR = re.compile(
    r"[(\[{\"']?[A-Za-z][)\]}\"']?,?(?: (?:or|and|nor)| ?[/&]) ?[(\[{\"']?[A-Za-z]\b(?!')"
)
_RIGHT = re.compile(
    r"(?:(?:the )?(?:option|choice|answer|letter) )?[(\[]?([A-Za-z])[)\]]? (?:is|was|seems|must be|looks)"
    r" (?:(?:the|clearly|probably|likely|most likely|definitely) ){0,2}"
    r"(?:right|correct|true|best|answer|one|appropriate)\b",
    re.IGNORECASE,
)
_WRONG = re.compile(
    r"[(\[{\"']?[A-Za-z][)\]}\"']? (?:is|was|isn't|cannot|can't)(?: clearly| not| be)*(?: the)?"
    r" (?:incorrect|wrong|false|right|correct|true)\b",
    re.IGNORECASE,
)
"""Pattern of a letter that is said to be wrong; of one that is said to be right, see `_RIGHT`."""
_OPENING = re.compile(
    r"(?:(?:so|thus|hence|therefore|probably|most likely|likely|definitely|clearly|sure|yes|correct),? )++",
    re.IGNORECASE,
)
"""Pattern of words that may stand before a letter."""
_BOXED = re.compile(
    r"boxed ?\{ ?(?:\\(?:text|mathrm|mathbf|textbf) ?\{ ?)?\(?([A-Za-z])\)?[.]? ?\}"
)
_TAGGED = re.compile(r"<answer> ?\(?([A-Za-z])\)?[.]? ?</answer>", re.IGNORECASE)
_TAIL = re.compile(r"[(\[]([A-Z])[)\]][.!]?$")  # a dog (B)
_MARK = re.compile(r"(?:^|(?<=\s))[(\[]?([A-Za-z])[.:)\]]\s+")
_STOP = re.compile(r"[.!?](?:\s|$)|\n")
_EMPHASIS = re.compile(r"</?(?:b|i|em|strong)>|__|(?<!\w)_(?=\w)|(?<=\w)_(?!\w)")
_WIDE = str.maketrans(
    "\uff08\uff09\u3010\u3011\u3002\uff0e\uff1a\uff0c\uff1b\uff01\uff1f\u3001\u2019\u2018\u201c\u201d",
    "()[]..:,;!?,''\"\"",
)
"""Marks of Chinese, and typographic ones."""
_FULL_WIDTH = {0xFEE0 + ord(letter): letter for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}
LONGEST = 4_000
"""Characters of an answer that are read; a choice lies before them, or in the last of them."""

UNCLEAR = "?"
"""Mark of a letter that may be a word, or of several letters."""


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
    text, options = _tidy(text), options or {}
    if opening := _OPENING.match(text):
        text = text[opening.end() :]
    letter = _marked(text) or _alone(text) or _named(text, options)
    if letter is None and not _OR.match(text):
        starts = (form.match(text) for form in (_LED_BY, _LINE, _BECAUSE, _SENTENCE, _RIGHT))
        letter = next((match[1].upper() for match in starts if match and _may_be(match)), None)
        letter = letter or _in_words(text, options)
        if not letter and (match := _TAIL.search(text)):
            letter = match[1]
    return letter if not options or letter in options else None


def _tidy(text: str) -> str:
    """Return the text with plain marks and single blanks, without emphasis; cut a long one's middle."""
    if len(text) > LONGEST:
        text = f"{text[: LONGEST // 2]}\n{text[-LONGEST // 2 :]}"
    text = text.translate(_WIDE).translate(_FULL_WIDTH)
    text = text.replace("*", "").replace("`", "").replace("$", "")
    text = _EMPHASIS.sub("", text)
    lines = (" ".join(line.split()) for line in text.strip().splitlines())
    return "\n".join(line for line in lines if line)


def _marked(text: str) -> str | None:
    """Return the letter in \\boxed{} or <answer></answer>, the last one if there are several."""
    found = [match[1].upper() for form in (_BOXED, _TAGGED) for match in form.finditer(text)]
    return found[-1] if found else None


def _alone(text: str) -> str | None:
    match = _ALONE.fullmatch(text.strip("\"' "))
    return match[1].upper() if match else None


def _may_be(match: re.Match[str]) -> bool:
    """Return False for the words "a" and "I" where nothing marks them as letters."""
    marked = match[0][:1] in "([" or match[0].lower().startswith(
        ("option", "choice", "the", "answer")
    )
    return marked or match.re is not _RIGHT or (match[1].isupper() and match[1] != "I")


def _named(text: str, options: dict[str, str]) -> str | None:
    """Return the one option that has this text, apart from an article."""
    bare = _bare(text)
    named = [letter for letter, option in options.items() if bare and _bare(option) == bare]
    return named[0] if len(named) == 1 else None


def _bare(text: str) -> str:
    return re.sub(r"^(?:a|an|the)\s+", "", plain(text))


def _in_words(text: str, options: dict[str, str]) -> str | None:
    """Return the letter after "the answer is" and similar words, if all of them agree."""
    letters = set(_led(text, options)) - {None}
    return letters.pop() if len(letters) == 1 and UNCLEAR not in letters else None


def _led(text: str, options: dict[str, str]) -> Iterator[str | None]:
    """Yield what follows each lead: a letter, `UNCLEAR`, or None where it is none."""
    for lead in _LEAD.finditer(text):
        start = lead.end()
        stop = _STOP.search(text, start)
        sentence = text[start : stop.start() if stop else len(text)][:LONGEST]
        match = _ENDED.match(text, start) or _RIGHT.match(text, start)
        if _OR.match(text, start):
            yield UNCLEAR
        elif named := _named(sentence, options):
            yield named
        elif match:
            yield match[1].upper()
        elif _WRONG.match(text, start):
            yield None
        else:
            led = _LED_BY.match(text, start)
            word = re.match(r"[A-Z]\s", text[start : start + 2])
            yield led[1].upper() if led else UNCLEAR if word else None


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
