"""Texts for the language model: sentences, and questions about a text that stands for an image."""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

DESCRIBE = (
    "describe the image.",
    "describe this picture",
    "what is shown?",
    "what is shown in the picture?",
    "what is this?",
    "what do you see?",
    "what can be seen here?",
    "what does the image show?",
    "which thing is it?",
    "a short description",
    "write a caption for the image.",
    "give a short caption.",
    "caption:",
    "name it",
    "name the thing in the picture.",
    "tell me what this is.",
    "say what is drawn here.",
    "label the picture.",
    "the picture shows",
    "",
)
SPELL = ("spell the word", "spell it", "which letters are written?", "read the letters.")
COUNTRY = ("which country is this?", "name the country", "what country is it?")
CAPITAL = ("what is the capital of this country?", "which city is its capital?", "the capital?")
CONTINENT = ("which continent is it in?", "on what continent is this country?")
LANGUAGE = ("which language do people speak here?", "what is the language?")
MEANING = ("what does this sign mean?", "what is the meaning?", "what does it tell drivers?")
KIND = ("what kind of picture is it?", "which kind is this?")
WORD = ("which word is written?", "read the word", "what does the text say?")
NUMBER = ("which number is this?", "what digit do you see?", "read the number")
COLOR = ("what color is it?", "which color is this?")
ANYTHING = ("which {} is this?", "what {} is it?", "name the {}", "what is the {} here?")
NUMBERS = "zero one two three four five six seven eight nine".split()
COLORS = "black white grey red orange yellow green blue purple pink brown".split()


@dataclass(frozen=True)
class Question:
    """Question about a text that stands for an image, and its answer."""

    shown: str
    question: str
    answer: str


Maker = Callable[[random.Random], Question]


def reworded(question: str, chance: random.Random) -> str:
    """Return the question with random punctuation, so that answers do not depend on it."""
    return question.rstrip(".?:") + chance.choice(("", "?", ".", ":"))


@dataclass(frozen=True)
class Corpus:
    """Sentences to read, and makers of questions."""

    sentences: list[str]
    makers: list[Maker]


def corpus(lines: list[str]) -> Corpus:
    """Return the lines of more than three words, and makers of questions about their facts."""
    return Corpus([line for line in lines if len(line.split()) > 3], readers(lines))


FACTS = {
    "capital": r"what is the capital of (.+)\? (.+)",
    "continent": r"which continent is (.+) in\? (.+)",
    "language": r"people in (.+) speak (.+)",
    "meaning": r"what does this sign mean()\? (.+)",
    "kind": r"(.+) is a picture of kind (.+)",
    "noun": r"([a-z]+): ([a-z ]+)",
}


def readers(sentences: list[str]) -> list[Maker]:
    """Return makers of questions, one for each skill, from the facts in the sentences."""
    facts = {
        name: [(match[1], match[2]) for line in sentences if (match := re.fullmatch(pattern, line))]
        for name, pattern in FACTS.items()
    }
    countries = sorted({country for country, _ in facts["continent"]})
    meanings = [meaning for _, meaning in facts["meaning"]]
    nouns = [noun for noun, _ in facts["noun"]]
    labels = [label for label, _ in facts["kind"]]
    anything = _anything((countries, meanings, labels, nouns, NUMBERS), nouns)
    return [
        anything,
        anything,
        _same(countries, COUNTRY),
        _fact(facts["capital"], CAPITAL),
        _fact(facts["continent"], CONTINENT),
        _fact(facts["language"], LANGUAGE),
        _same(meanings, MEANING),
        _same(labels, DESCRIBE),
        _same(nouns, WORD),
        _same(nouns, DESCRIBE),
        _fact(facts["kind"], KIND),
        _same(NUMBERS, NUMBER),
        _is_it(nouns),
        _colored(nouns),
    ]


def _same(texts: Sequence[str], questions: tuple[str, ...]) -> Maker:
    def make(chance: random.Random) -> Question:
        text = chance.choice(texts)
        return Question(text, chance.choice(questions), text)

    return make


def _fact(pairs: Sequence[tuple[str, str]], questions: tuple[str, ...]) -> Maker:
    def make(chance: random.Random) -> Question:
        shown, answer = chance.choice(pairs)
        return Question(shown, chance.choice(questions), answer)

    return make


def _is_it(nouns: Sequence[str]) -> Maker:
    def make(chance: random.Random) -> Question:
        shown, other = chance.choice(nouns), chance.choice(nouns)
        noun = chance.choice((shown, other))
        return Question(shown, f"is this a {noun}?", "yes" if noun == shown else "no")

    return make


def _colored(nouns: Sequence[str]) -> Maker:
    def make(chance: random.Random) -> Question:
        color, noun = chance.choice(COLORS), chance.choice(nouns)
        if chance.random() < 0.5:
            return Question(f"{color} {noun}", chance.choice(COLOR), color)
        return Question(f"{color} {noun}", chance.choice(DESCRIBE), f"{color} {noun}")

    return make


def _anything(texts: Sequence[Sequence[str]], nouns: Sequence[str]) -> Maker:
    def make(chance: random.Random) -> Question:
        text = chance.choice(chance.choice(texts))
        return Question(text, chance.choice(ANYTHING).format(chance.choice(nouns)), text)

    return make


def wordings() -> list[str]:
    """Return every question of the examples, so that the tokenizer knows their words."""
    groups = (DESCRIBE, COUNTRY, CAPITAL, CONTINENT, LANGUAGE, MEANING, KIND, WORD, NUMBER, COLOR)
    return [question for group in (*groups, SPELL, ANYTHING) for question in group]
