"""Plain lower-case sentences to pretrain a language model on: countries, emoji, signs, nouns."""

import json
from collections.abc import Iterator
from pathlib import Path

from tasks.mini import sources
from tasks.mini.packages import folder
from tasks.mini.words import glosses

CONTINENTS = {
    "AF": "africa",
    "AN": "antarctica",
    "AS": "asia",
    "EU": "europe",
    "NA": "north america",
    "OC": "oceania",
    "SA": "south america",
}


def sentences(cache: Path) -> Iterator[str]:
    for sentence in (*_countries(cache), *_emoji(cache), *_signs(cache), *_nouns(cache)):
        yield " ".join(sentence.lower().split())


def _countries(cache: Path) -> Iterator[str]:
    languages = json.loads(
        (folder(cache, "countries-list") / "package/languages.min.json").read_text()
    )
    for facts in sources.countries(cache).values():
        name, continent = facts["name"], CONTINENTS[facts["continent"]]
        yield f"{name} is a country in {continent}"
        yield f"which continent is {name} in? {continent}"
        if facts["capital"]:
            yield f"the capital of {name} is {facts['capital']}"
            yield f"{facts['capital']} is a city in {name}"
            yield f"what is the capital of {name}? {facts['capital']}"
        for language in facts["languages"]:
            yield f"people in {name} speak {languages[language]['name']}"


def _emoji(cache: Path) -> Iterator[str]:
    for entry in sources.emoji_labels(cache):
        kind = sources.EMOJI_GROUPS[entry["group"]]
        yield f"{entry['label']} is a picture of kind {kind}"
        if entry.get("tags"):
            yield f"{entry['label']}: {', '.join(entry['tags'])}"


def _signs(cache: Path) -> Iterator[str]:
    for name in sorted({picture.name for picture in sources.signs(cache)}):
        yield f"a road sign can mean {name}"
        yield f"what does this sign mean? {name}"


def _nouns(cache: Path) -> Iterator[str]:
    for noun, gloss in glosses(cache).items():
        if len(gloss.split()) <= 16:
            yield f"{noun}: {gloss}"
