"""VQA accuracy, as the official evaluation of VQA v2 computes it since 2021 (Goyal et al. 2017).

Two things differ from that evaluation:

- Where all ten answers are equal it normalises neither them nor the prediction, so that "Yes." is wrong
  for ten answers "yes". Here, as in lmms-eval, both sides are always normalised.
- It needs ten answers; see `vqa_accuracy` for fewer.

TextVQA, OK-VQA and VizWiz are evaluated in the field after EvalAI's tokenizer: `vqa_evalai`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

_NUMBERS = "zero one two three four five six seven eight nine ten".split()
_DIGITS = {"none": "0"} | {word: str(number) for number, word in enumerate(_NUMBERS)}
_ARTICLES = frozenset({"a", "an", "the"})
_MARKS = ';/[]"{}()=+\\_-><@`,?!'  # the apostrophe, colon, full stop, $, %, & and # are none

# Where exactly one apostrophe is missing it is put back. Forms of "I" are not among them: the
# evaluation lists them with a capital, which no text has any more when they are looked up.
_CONTRACTIONS = {
    word[:place] + word[place + 1 :]: word
    for word in (
        "ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't "
        "haven't he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't "
        "mightn't've might've mustn't must've needn't not've o'clock oughtn't 'ow's'at shan't she'd've "
        "should've shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've "
        "someone'll someone's something'd something'd've something'll that's there'd there'd've "
        "there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't "
        "what'll what're what's what've when's where'd where's where've who'd who'd've who'll who's "
        "who've why'll why're why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've "
        "you'd you'd've you'll you're you've"
    ).split()
    for place, letter in enumerate(word)
    if letter == "'"
} | {"somebody'd": "somebodyd"}  # a slip of the evaluation's list, which counts


def vqa_plain(text: str) -> str:
    """Normalise to lower case without articles, numbers as digits, punctuation by the evaluation's rules.

    A mark that is next to a blank anywhere in the text is removed. Others become blanks, but are removed
    if the text has a number such as 1,000. A full stop stays only before a digit.
    """
    text = " ".join(text.split())
    glued = re.search(r"\d,\d", text) is not None
    bare = text
    for mark in _MARKS:
        beside = f"{mark} " in text or f" {mark}" in text
        bare = bare.replace(mark, "" if glued or beside else " ")
    # The evaluation removes 32 full stops at most: it passes a flag where the count belongs.
    words = re.sub(r"\.(?!\d)", "", bare, count=32).lower().split()
    kept = (_DIGITS.get(word, word) for word in words)
    return " ".join(_CONTRACTIONS.get(word, word) for word in kept if word not in _ARTICLES)


def evalai_plain(text: str) -> str:
    """Normalise as EvalAI does, which first removes commas and "?", and cuts off "'s"."""
    text = text.lower().replace(",", "").replace("?", "").replace("'s", " 's")
    return vqa_plain(text)


def vqa_evalai(prediction: str, references: Sequence[str]) -> float:
    """Compute `vqa_accuracy` after `evalai_plain` (TextVQA, OK-VQA, VizWiz)."""
    return vqa_accuracy(prediction, references, evalai_plain)


def vqa_accuracy(
    prediction: str, references: Sequence[str], normalise: Callable[[str], str] = vqa_plain
) -> float:
    """Average min(matches / 3, 1) over leave-one-out subsets, after `vqa_plain` (VQA v2).

    The formula is for ten references. With fewer than four, all the others must match instead of three of
    them. A single reference must match itself. So a right answer always scores 1.
    """
    answer, count = normalise(prediction), len(references)
    matches = sum(normalise(reference) == answer for reference in references)
    if count <= 1:
        return float(matches)
    enough = min(3, count - 1)
    without_match = matches * min((matches - 1) / enough, 1.0)
    without_other = (count - matches) * min(matches / enough, 1.0)
    return (without_match + without_other) / count
