"""Words and digits in many fonts, some of which are kept for validation and test."""

from collections.abc import Iterator, Sequence
from functools import cache as remember
from pathlib import Path

from PIL import Image

from tasks.mini.packages import folder
from tasks.mini.render import Picture, draw_text, seeded

FONTS = {
    "roboto": "train",
    "open-sans": "train",
    "lato": "train",
    "montserrat": "train",
    "merriweather": "train",
    "pt-serif": "train",
    "source-sans-3": "train",
    "roboto-mono": "train",
    "playfair-display": "train",
    "nunito": "validation",
    "lora": "validation",
    "work-sans": "test",
    "noto-serif": "test",
    "fira-sans": "test",
}
WORDS: tuple[str, ...] = tuple("axe bee cow fox hat ink jug map pig sky".split())


def font_file(cache: Path, font: str, weight: int) -> Path:
    return folder(cache, font) / f"package/files/{font}-latin-{weight}-normal.woff"


def words(cache: Path, texts: Sequence[str], views: int, wild: bool = True) -> Iterator[Picture]:
    """Draw each text in each font, `views` times with another weight, colours and place."""
    for text in texts:
        for font, split in FONTS.items():
            for number in range(views):
                yield _word(cache, text, font, split, number, wild)


def _word(cache: Path, text: str, font: str, split: str, number: int, wild: bool) -> Picture:
    def draw(size: int) -> Image.Image:
        chance = seeded("word", text, font, number)
        file = font_file(cache, font, chance.choice((400, 700)))
        return draw_text(text, file, size, chance, wild=wild)

    return Picture(text, "word", font, split, draw)


@remember
def glosses(cache: Path) -> dict[str, str]:
    """Return the definition of the most common sense of each noun of one plain word."""
    root = folder(cache, "wordnet") / "usr/share/wordnet"
    definitions = {
        line[:8]: line.split("| ")[1].split(";")[0].split("(")[0].strip()
        for line in (root / "data.noun").read_text().splitlines()
        if not line.startswith(" ")
    }
    nouns: dict[str, str] = {}
    for line in (root / "index.noun").read_text().splitlines():
        fields = line.split()
        if not line.startswith(" ") and fields[0].isascii() and fields[0].isalpha():
            # lemma, pos, senses, pointers, the pointers' symbols, senses, tagged senses, offsets
            senses, offset = 4 + int(fields[3]), 6 + int(fields[3])
            tagged = int(fields[senses + 1])
            if tagged > 0:
                nouns[fields[0]] = definitions[fields[offset]]
    return nouns
