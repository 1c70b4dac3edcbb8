"""The words of a caption, as the Penn Treebank tokenizer of `pycocoevalcap` cuts them.

The tokenizer is a Java program (Stanford CoreNLP 3.4.1). At each place it takes the longest of many
patterns; so does this module, with the patterns that captions and texts in pictures need.
"""

from __future__ import annotations

import re
from functools import lru_cache

_ABBREVIATIONS = frozenset(
    "jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed thu thurs fri ala ariz bldg calif "
    "colo conn ct dak fla ga ind kan kans ky md mich minn mo mont neb nev okla penn tenn va vt wis wisc "
    "wyo mr mrs ms dr drs prof profs sen sens rep reps atty attys lt col gen messrs gov govs adm rev maj "
    "sgt cpl pvt capt st ste ave pres lieut hon brig cmdr comdr pfc spc supt supts det insp sr jr inc co "
    "cos corp pty ptys ltd plc rt bancorp dept bhd assn univ intl sys ph vs etc al bros blvd rd esq tel "
    "est ext sq ft mt cf alex wm jos cie invt elec natl mfg".split()
)
_CAPITAL_ABBREVIATIONS = frozenset("Ark Az Del Ill La Mass Miss Ore Pa Tex Wash".split())
_CUT = {
    **{"cannot": ["can", "not"], "gonna": ["gon", "na"], "gotta": ["got", "ta"]},
    **{"wanna": ["wan", "na"], "gimme": ["gim", "me"], "lemme": ["lem", "me"]},
}
_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
_CURRENCIES = {"\u00a3": "#", "\u20ac": "$", "\u00a2": "cents", "\u00a4": "$"}
_PLAIN = str.maketrans(
    {
        **{"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u00b4": "'"},
        **{"\u2013": " -- ", "\u2014": " -- ", "\u00bd": " 1/2 ", "\u00bc": " 1/4 "},
        **{"\u00be": " 3/4 ", "\u2153": " 1/3 ", "\u2154": " 2/3 "},
    }
)
_ENTITIES = (("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&apos;", "'"))

_A = r"[^\W_\u00b2\u00b3\u00b9\u2070-\u209f]"  # a letter or digit
_END = rf"(?!{_A})"
_CLITIC = rf"'(?:s|m|d|re|ve|ll){_END}"
_HOST = r"[^\s\"<>|.!?(){},]{1,63}"
_PATH = r"[^\s\"<>()|]{1,2000}[^\s\"<>|.!?(){},-]"
_STARTS = (
    "A About According Additionally After An As At But Earlier He Her Here However If In It Last Many More "
    "Now Once One Other Our She Since So Some Such That The Their Then There These They This We When "
    "While What Yet You"
)
_GOES_ON = rf"(?!\s*$|\s+(?:{'|'.join(_STARTS.split())})(?:\s|$))"  # and the sentence does not end
# No pattern goes back over what it has read but for a bounded stretch: 100,000 letters take no longer
# than their number asks for.
_PATTERNS = [
    re.compile(pattern)
    for pattern in (
        rf"{_A}++(?:[-_/]{_A}++)*+",  # and/or
        rf"[^\W\d_]{_A}*+(?:\.[^\W\d_]{_A}*+)++(?:-{_A}++)*+",  # x.io
        rf"(?:www\.(?:{_HOST}\.)+[A-Za-z]{{2,4}}|(?:[a-z]{{1,63}}\.)+(?:com|net|org|edu))(?:/{_PATH})?",
        r"[-+]?\d*+(?:[.,:]\d++)+|[-+]?\d++",
        rf"\d++(?:[.,]\d++)++(?:[-/]{_A}++)++",  # 3.5-inch
        rf"https?://{_PATH}",
        r"[A-Za-z0-9][^\s\"<>|(){}@]{0,64}@[^\s\"<>|(){}.]++(?:\.[^\s\"<>|(){}.]++)*+",
        r"@[A-Za-z_][A-Za-z0-9_]*+|#[A-Za-z_]++",
        rf"[A-Z]++(?:&[A-Z]++)++{_END}",  # AT&T
        rf"[A-Za-z](?:\.[A-Za-z](?![A-Za-z]))+\.?(?:-[A-Za-z]++)*+|[A-Za-z]\.{_END}{_GOES_ON}|[A-Za-z]\.(?=\d)",
        r"(?:Ph|Ed|ph|ed)\.[Dd]\.|(?i:nos?|figs?|pp|art|prop|ca|op)\.(?=\s?\d)",
        rf"(?i:(?:[dljom]|ma|c|e|li|ev|ol)'(?!(?:s|m|d|re|ve|ll){_END})[a-z]++)",  # o'clock
        rf"(?i:'n'|'(?:em|til|cause|n){_END}|ol'|dunkin'|y'(?=[a-z])|'t(?=(?:is|was){_END}))",
        rf"'\d\d(?:s{_END}|(?!\S))",
        rf"(?i:{_CLITIC}|n['`]t{_END})",
        r"[A-Za-z]\+\+|[CcFf]#|(?:US|HK|NZ|[A-Z])\$",
        r"[?!]{2,}+|\*++|#++|_++|</?[A-Za-z][A-Za-z0-9]*+/?>",
        r"[:;][-']?[()]|\(\d{3}\)(?=\s?\d{3}-\d{4})",
        r"[$%&@=+^~|\\<>/\u00a2\u00a3\u00a5\u20ac\u00b0\u2122\u00a9\u00ae\u2022\u00b2\u00b3\u00b9()\[\]{}]",
        r"[\u00a1\u00a4\u00a6-\u00a8\u00ac\u00af-\u00ba\u00bf\u00d7\u00f7\u2016\u2017\u201a\u201e\u2020-\u2023"
        r"\u2030-\u2038\u203b\u203e-\u2042\u2100-\u214f\u2190-\u2bff]",
    )
]
_NEGATED = re.compile(rf"[A-Za-z]+?(?=[nN]['`][tT]{_END})")
_LETTERS = re.compile(r"[A-Za-z]++(?=\.(?![^\W\d]))")
_GAP = re.compile(r"(?:[\s,.\"]|;(?![-']?[()]))++")
_SIMPLE = re.compile(r"[A-Za-z ]*")


@lru_cache(maxsize=1 << 16)  # references are read again after every stage
def caption_words(text: str) -> tuple[str, ...]:
    """Return the words of a caption: lower case, no punctuation, "dog's" and "don't" in two.

    They equal those of `pycocoevalcap`'s tokenizer, its names for brackets, currencies and fractions
    included, but for what is rare; `tests/peers` counts. The Java tokenizer differs on:

    - a letter with a full stop at a caption's end, which is always dropped here. There it is kept unless
      the *next* caption of the file begins with a word such as "A" or "The", as captions mostly do;
    - words with an apostrophe that it knows one by one, such as "s'mores", "ol'" in capitals, "e'en", and
      "L'" and "D'" before a blank;
    - "a!b" and other marks between letters, "5.x", telephone numbers with full stops, and 1990-1995
      before 1990s;
    - smileys but for the simple ones, tags with attributes, rare marks such as a fraction's stroke;
    - letters below or above the line, and scripts without blanks between words.
    """
    words: list[str] = []
    for name, mark in _ENTITIES:
        text = text.replace(name, mark)
    text, place = text.translate(_PLAIN), 0
    stem = text.rstrip(".")
    if _SIMPLE.fullmatch(stem) and not _is_abbreviation(stem.rpartition(" ")[2], text):
        return tuple(part for word in stem.lower().split() for part in _CUT.get(word, [word]))
    while place < len(text):
        if gap := _GAP.match(text, place):
            place = gap.end()
            if place < len(text) or text[place - 1] != ".":
                # A number such as .5 begins with what else is a gap.
                place -= _begins_number(text, place)
            if place == len(text):
                break
        found = _longest(text, place)
        if found:
            words += _named(found)
            place += len(found)
        else:
            place += 1
    return tuple(words)


def _is_abbreviation(word: str, text: str) -> bool:
    """Return whether a text's last word may keep its full stop."""
    known = word.lower() in _ABBREVIATIONS or word in _CAPITAL_ABBREVIATIONS
    return text.endswith(".") and (known or len(word) == 1)


def _begins_number(text: str, place: int) -> int:
    """Return 1 if the mark before `place` is part of a number: a point or comma before a digit."""
    return int(text[place].isdigit() and text[place - 1] in ".,") if place < len(text) else 0


def _longest(text: str, place: int) -> str:
    """Return the longest token that begins at a place; empty if there is none."""
    if negated := _NEGATED.match(text, place):
        return negated[0]
    best = ""
    for pattern in _PATTERNS:
        match = pattern.match(text, place)
        if match and len(match[0]) > len(best):
            best = match[0]
    letters = _LETTERS.match(text, place)
    if letters and len(letters[0]) >= len(best):
        known = letters[0].lower() in _ABBREVIATIONS or letters[0] in _CAPITAL_ABBREVIATIONS
        return letters[0] + "." * known
    return best


def _named(token: str) -> list[str]:
    """Return a token under the tokenizer's names, in lower case; some words are cut in two."""
    if token in _CURRENCIES:
        return [_CURRENCIES[token]]
    is_address = "://" in token or "@" in token
    if not token[-1].isalnum() and not is_address and any(mark in _BRACKETS for mark in token):
        token = "".join(_BRACKETS.get(mark, mark) for mark in token)
    lower = token.lower()
    return _CUT.get(lower, [lower])
