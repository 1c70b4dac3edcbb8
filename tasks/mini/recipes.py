"""Recipes of the tasks, one function each: the pictures, and the right answer to each."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from tasks.mini import arrays, choices, sources
from tasks.mini.corpus import CONTINENTS
from tasks.mini.render import Picture, is_blank, on_ground, seeded, view
from tasks.mini.words import WORDS, words

Counts = dict[str, int]
FLAG_VIEWS = {"train": 3, "validation": 6, "test": 4}


@dataclass(frozen=True)
class Question:
    """A picture, its right answer, and the number of its view: 0 is plain, others vary."""

    picture: Picture
    answer: str
    number: int = 0

    def image(self, size: int) -> Image.Image:
        image = self.picture.draw(size)
        if self.number == 0:
            return on_ground(image)
        return view(image, seeded("view", self.picture.name, self.picture.design, self.number))


def balanced(questions: Iterable[Question], counts: Counts, size: int = 64) -> list[Question]:
    """Draw as many questions of each answer and split as `counts` gives."""
    groups: dict[tuple[str, str], list[Question]] = defaultdict(list)
    for question in questions:
        groups[question.answer, question.picture.split].append(question)
    chosen: list[Question] = []
    for (answer, split), group in sorted(groups.items()):
        seeded("balanced", answer, split).shuffle(group)
        good = [question for question in group if not is_blank(question.image(size))]
        chosen += good[: counts[split]]
    return chosen


def views(pictures: Iterable[tuple[Picture, str]], counts: Counts) -> Iterator[Question]:
    """Yield `counts` views of each picture, by its split."""
    for picture, answer in pictures:
        for number in range(counts[picture.split]):
            yield Question(picture, answer, number)


def emoji_caption(cache: Path) -> list[Question]:
    wanted = [(p, p.name) for p in sources.emoji(cache) if p.name in choices.EMOJI_CAPTIONS]
    return list(views(wanted, {"train": 7, "validation": 7, "test": 8}))


def emoji_kind(cache: Path) -> list[Question]:
    def kinds() -> Iterator[Question]:
        for picture in sources.emoji(cache):
            kind = _kind(picture.kind, choices.EMOJI_KINDS)
            excluded = choices.NOT_OF_KIND | set(choices.KEPT_FROM_KINDS)
            if kind and picture.name not in excluded:
                yield Question(picture, kind)

    return balanced(kinds(), {"train": 48, "validation": 15, "test": 20})


def _kind(path: str, kinds: dict[str, tuple[str, ...]]) -> str | None:
    starts = ((kind, start) for kind, folders in kinds.items() for start in folders)
    return next((kind for kind, start in starts if path.startswith(start)), None)


def flag_country(cache: Path) -> list[Question]:
    names = {code: facts["name"].lower() for code, facts in sources.countries(cache).items()}
    return _flags(cache, {code: names[code] for code in choices.FLAG_COUNTRY}, FLAG_VIEWS)


def flag_capital(cache: Path) -> list[Question]:
    facts = sources.countries(cache)
    capitals = {code: facts[code]["capital"].lower() for code in choices.FLAG_CAPITAL}
    return _flags(cache, capitals, FLAG_VIEWS)


def flag_continent(cache: Path) -> list[Question]:
    facts = sources.countries(cache)
    codes = [code for group in choices.FLAG_CONTINENT.values() for code in group]
    answers = {code: CONTINENTS[facts[code]["continent"]] for code in codes}
    questions = _flags(cache, answers, {"train": 2, "validation": 3, "test": 2})
    return balanced(questions, {"train": 64, "validation": 24, "test": 32})


def _flags(cache: Path, answers: dict[str, str], counts: Counts) -> list[Question]:
    wanted = [(p, answers[p.name]) for p in sources.flags(cache) if p.name in answers]
    return list(views(wanted, counts))


def sign_meaning(cache: Path) -> list[Question]:
    """Make the questions; designs that are not in train go alternately to test and validation."""
    designs: dict[tuple[str, str], list[Picture]] = defaultdict(list)
    for picture in sources.signs(cache):
        meaning = _sign_meaning(picture)
        if meaning is not None:
            use = "train" if picture.split == "train" else "held out"
            designs[meaning, use].append(picture)
    questions: list[Question] = []
    for (meaning, use), pictures in designs.items():
        for place, picture in enumerate(pictures):
            split = "train" if use == "train" else ("test", "validation")[place % 2]
            assigned = replace(picture, split=split)
            questions += [Question(assigned, meaning, number) for number in range(12)]
    return balanced(questions, {"train": 28, "validation": 8, "test": 12})


def _sign_meaning(picture: Picture) -> str | None:
    patterns = choices.SIGN_MEANINGS.items()
    return next((meaning for meaning, how in patterns if re.match(how, picture.design)), None)


def sign_kind(cache: Path) -> list[Question]:
    questions = (
        Question(picture, choices.SIGN_KINDS[picture.kind])
        for picture in sources.signs(cache)
        if picture.kind in choices.SIGN_KINDS and _sign_meaning(picture) is None
    )
    return balanced(questions, {"train": 95, "validation": 26, "test": 42})


def digit(cache: Path) -> list[Question]:
    questions = (Question(picture, picture.name) for picture in arrays.digits(cache))
    return balanced(questions, {"train": 40, "validation": 12, "test": 20})


def animal(cache: Path) -> list[Question]:
    questions = (Question(picture, picture.name) for picture in arrays.animals(cache))
    return balanced(questions, {"train": 40, "validation": 12, "test": 20})


def textile(cache: Path) -> list[Question]:
    questions = (Question(picture, picture.name) for picture in arrays.textiles(cache))
    return balanced(questions, {"train": 180, "validation": 55, "test": 85})


def word(cache: Path) -> list[Question]:
    questions = (Question(picture, picture.name) for picture in words(cache, WORDS, 6, wild=False))
    return balanced(questions, {"train": 40, "validation": 12, "test": 18})


def clipart_kind(cache: Path) -> list[Question]:
    kinds = {name: kind for kind, names in choices.CLIPART_KINDS.items() for name in names}
    questions = (
        Question(picture, kinds[picture.kind])
        for picture in sources.clip_art(cache)
        if picture.kind in kinds and not choices.NOT_IN_CLIPART & set(picture.name.split())
    )
    return balanced(questions, {"train": 50, "validation": 18, "test": 30})


RECIPES: dict[str, Callable[[Path], list[Question]]] = {
    "emoji_caption": emoji_caption,
    "sign_meaning": sign_meaning,
    "animal": animal,
    "flag_country": flag_country,
    "digit": digit,
    "textile": textile,
    "flag_capital": flag_capital,
    "word": word,
    "flag_continent": flag_continent,
    "emoji_kind": emoji_kind,
    "clipart_kind": clipart_kind,
    "sign_kind": sign_kind,
}
