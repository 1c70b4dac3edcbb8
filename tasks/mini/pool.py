"""Captioned pictures and text to pretrain on: `python -m tasks.mini.pool --cache DIR --out DIR`.

Only training styles, designs and examples are drawn, none of a validation or test split.
"""

import argparse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pyarrow
import pyarrow.parquet
from PIL import Image

from tasks.mini import arrays, corpus, sources
from tasks.mini.render import (
    COLORS,
    Picture,
    draw_svg,
    is_blank,
    named_colors,
    on_ground,
    png,
    seeded,
    view,
)
from tasks.mini.words import WORDS, glosses, words

SIZE = 98
SHARD_ROWS = 4000
Row = tuple[Image.Image, str | None, str, str | None]


def rows(cache: Path) -> Iterator[Row]:
    yield from _emoji(cache)
    yield from _flags(cache)
    yield from _signs(cache)
    yield from _game_icons(cache)
    yield from _clip_art(cache)
    yield from _words(cache)
    yield from _unlabelled(cache)


def _train(pictures: Iterator[Picture]) -> Iterator[Picture]:
    return (picture for picture in pictures if picture.split == "train")


def _emoji(cache: Path) -> Iterator[Row]:
    for picture in _train(sources.emoji(cache)):
        yield (
            on_ground(picture.draw(SIZE)),
            picture.name,
            picture.design,
            picture.kind.split("/")[0],
        )


def _flags(cache: Path) -> Iterator[Row]:
    for picture in _train(sources.flags(cache)):
        image = picture.draw(SIZE)
        yield on_ground(image), f"a {_listed(named_colors(image))} flag", picture.design, "flag"


def _listed(names: list[str]) -> str:
    names = names[:4] or ["plain"]
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def _signs(cache: Path) -> Iterator[Row]:
    for picture in _train(sources.signs(cache)):
        image = picture.draw(SIZE)
        yield on_ground(image), f"{picture.name} sign", "signs", picture.kind
        yield view(image, seeded("pool", picture.design)), None, "signs", picture.kind


def _game_icons(cache: Path) -> Iterator[Row]:
    """Yield each icon in a colour that its caption names."""
    package = sources.folder(cache, "game-icons")
    for picture in sources.game_icons(cache):
        chance = seeded("icon color", picture.name)
        color = "black" if chance.random() < 0.3 else chance.choice(sorted(set(COLORS) - {"white"}))
        svg = sources.icon_svg(package, picture.name.replace(" ", "-"))
        if svg is not None and picture.name.replace(" ", "").isalpha():
            ink = "#{:02x}{:02x}{:02x}".format(*COLORS[color])
            yield (
                on_ground(draw_svg(svg, SIZE, ink)),
                f"{color} {picture.name}",
                "game-icons",
                "icon",
            )


def _clip_art(cache: Path) -> Iterator[Row]:
    """Yield clip art, captioned with its title if that is English, else with its folder's name."""
    english = glosses(cache)
    for picture in _train(sources.clip_art(cache)):
        try:
            image = on_ground(picture.draw(SIZE))
        except (ValueError, OSError):
            continue
        named = picture.name.split()
        titled = 0 < len(named) <= 5 and all(word in english for word in named)
        top = picture.kind.split("/")[0]
        kind = None if top in ("unsorted", "special", "shapes") else top.replace("_", " ")
        if not is_blank(image):
            caption = picture.name if titled else kind and f"a drawing of {kind}"
            yield image, caption, "clip-art", kind


def _words(cache: Path) -> Iterator[Row]:
    short = [word for word in glosses(cache) if 2 <= len(word) <= 5 and word not in WORDS]
    chosen = sorted(seeded("pool words").sample(short, 500))
    for place, picture in enumerate(_train(words(cache, chosen, 1))):
        if place % 9 % 2 == 0:
            yield picture.draw(SIZE), f"the word {picture.name}", "words", "word"
    for picture in _train(words(cache, [str(digit) for digit in range(10)], 5)):
        name = arrays.DIGITS[int(picture.name)]
        yield picture.draw(SIZE), f"the digit {name}", "words", "printed digit"


def _unlabelled(cache: Path) -> Iterator[Row]:
    """Yield training examples, without labels, of the tasks that are split by example."""
    for pictures, caption, kind in (
        (arrays.digits(cache), "a handwritten digit", "digit"),
        (arrays.animals(cache), "a silhouette of an animal", "animal"),
        (arrays.textiles(cache), "a piece of cloth", "textile"),
    ):
        for picture in islice(_train(pictures), 1000):
            yield picture.draw(SIZE), caption, kind, kind


def write_pool(cache: Path, out: Path) -> None:
    """Write the pool as shards of shuffled rows, and the text corpus."""
    records = [
        {
            "image": {"bytes": png(image), "path": f"{place:05d}.png"},
            "caption": caption,
            "source": source,
            "kind": kind,
        }
        for place, (image, caption, source, kind) in enumerate(rows(cache))
    ]
    seeded("pool order").shuffle(records)
    out.mkdir(parents=True, exist_ok=True)
    image_type = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    text = pyarrow.string()
    schema = pyarrow.schema(
        [("image", image_type), ("caption", text), ("source", text), ("kind", text)]
    )
    for start in range(0, len(records), SHARD_ROWS):
        table = pyarrow.Table.from_pylist(records[start : start + SHARD_ROWS], schema)
        shard = out / f"pool-{start // SHARD_ROWS:02d}.parquet"
        pyarrow.parquet.write_table(table, shard, compression="zstd")
    captions = [record["caption"] for record in records if record["caption"]]
    (out / "text.txt").write_text("\n".join([*captions, *corpus.sentences(cache)]) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="where packages are kept")
    parser.add_argument("--out", type=Path, required=True, help="where shards and text go")
    arguments = parser.parse_args()
    write_pool(arguments.cache, arguments.out)
