"""Vector sources: emoji, flags, traffic signs, game icons and clip art, one function each."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache as remember
from pathlib import Path
from typing import Any

from PIL import Image

from tasks.mini.choices import SIGNS_SPLIT_BY_DESIGN
from tasks.mini.packages import folder
from tasks.mini.render import Picture, draw_svg, hashed_split

EMOJI_STYLES = {
    "twemoji": "train",
    "noto": "train",
    "fluent-emoji-flat": "train",
    "noto-v1": "validation",
    "emojione": "test",
}
EMOJI_GROUPS = {0: "face", 1: "person", 3: "nature", 4: "food", 5: "travel", 6: "activity"} | {
    7: "object",
    8: "symbol",
}
FLAG_DESIGNS = {
    "flag-4x3": "train",
    "flag-1x1": "train",
    "flagpack": "train",
    "country-flag-icons-3x2": "train",
    "country-flag-icons-1x1": "train",
    "twemoji": "train",
    "circle-flags": "validation",
    "cif": "test",
    "emojione": "test",
}
# Two codes that stand for languages in the set, and a flag whose crescent is not drawn.
WRONG_FLAGS = {("circle-flags", "ar"), ("circle-flags", "ie"), ("cif", "dz")}


@remember
def _icons(path: Path) -> dict[str, Any]:
    return json.loads((path / "package/icons.json").read_text())


def icon_svg(package: Path, name: str) -> str | None:
    """Return an icon as a document of its own; None if the set has no such icon."""
    icons = _icons(package)
    icon = icons["icons"].get(name)
    for _ in range(3):
        if icon is None and name in icons.get("aliases", {}):
            name = icons["aliases"][name]["parent"]
            icon = icons["icons"].get(name)
    if icon is None:
        return None
    width = icon.get("width", icons.get("width", 16))
    height = icon.get("height", icons.get("height", 16))
    left, top = icon.get("left", icons.get("left", 0)), icon.get("top", icons.get("top", 0))
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{left} {top} {width} {height}" width="{width}" height="{height}">'
        f"{icon['body']}</svg>"
    )


def slug(label: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", label.lower().replace("\u2019", "")).strip("-")


def emoji_labels(cache: Path) -> list[dict[str, Any]]:
    """Return label, tags and group of every emoji that is not a skin tone, a letter or a flag."""
    data = json.loads((folder(cache, "emojibase-data") / "package/en/data.json").read_text())
    return [entry for entry in data if entry.get("group") in EMOJI_GROUPS]


def emoji(cache: Path) -> Iterator[Picture]:
    """Yield every emoji in each of its styles; the kind is its group and subgroup."""
    meta = folder(cache, "emojibase-data") / "package/meta/groups.json"
    subgroups = json.loads(meta.read_text())["subgroups"]
    for entry in emoji_labels(cache):
        kind = f"{EMOJI_GROUPS[entry['group']]}/{subgroups[str(entry['subgroup'])]}"
        for style, split in EMOJI_STYLES.items():
            svg = icon_svg(folder(cache, style), slug(entry["label"]))
            if svg is not None:
                yield _picture(entry["label"].lower(), kind, style, split, svg)


def _picture(name: str, kind: str, design: str, split: str, svg: str) -> Picture:
    def draw(size: int) -> Image.Image:
        return draw_svg(svg, size)

    return Picture(name, kind, design, split, draw)


def countries(cache: Path) -> dict[str, dict[str, Any]]:
    """Return name, capital, continent and more of each country by ISO code."""
    path = folder(cache, "countries-list") / "package/countries.min.json"
    return {code.lower(): facts for code, facts in json.loads(path.read_text()).items()}


def flags(cache: Path) -> Iterator[Picture]:
    """Yield every country's flag in each of its designs; the picture's name is the ISO code."""
    files = folder(cache, "country-flag-icons") / "package"
    for code, facts in countries(cache).items():
        place = slug(facts["name"])
        svgs = {
            "flag-4x3": icon_svg(folder(cache, "flag"), f"{code}-4x3"),
            "flag-1x1": icon_svg(folder(cache, "flag"), f"{code}-1x1"),
            "flagpack": icon_svg(folder(cache, "flagpack"), {"gb": "gb-ukm"}.get(code, code)),
            "circle-flags": icon_svg(folder(cache, "circle-flags"), code),
            "cif": icon_svg(folder(cache, "cif"), code),
            "twemoji": icon_svg(folder(cache, "twemoji"), f"flag-{place}"),
            "emojione": icon_svg(folder(cache, "emojione"), f"flag-for-{place}"),
        }
        for shape in ("3x2", "1x1"):
            path = files / shape / f"{code.upper()}.svg"
            svgs[f"country-flag-icons-{shape}"] = path.read_text() if path.is_file() else None
        for design, split in FLAG_DESIGNS.items():
            svg = svgs[design]
            if svg is not None and (design, code) not in WRONG_FLAGS:
                yield _picture(code, facts["continent"], design, split, svg)


def signs(cache: Path) -> Iterator[Picture]:
    """Yield traffic signs, named as their files are; the kind is the type of sign."""
    designs: dict[str, list[Path]] = defaultdict(list)
    for path in sorted((folder(cache, "signs") / "package/package_signs").glob("*.svg")):
        designs[path.stem.rpartition("--")[0]].append(path)
    for name, paths in designs.items():
        kind, _, meaning = name.partition("--")
        paths.sort(key=lambda path: int(path.stem.rpartition("--g")[2]))
        for place, path in enumerate(paths, start=1):
            split = _sign_split(name, place, len(paths))
            words = meaning.replace("--", " ").replace("-", " ")
            yield _picture(words, kind, path.stem, split, path.read_text())


def _sign_split(name: str, place: int, designs: int) -> str:
    if name not in SIGNS_SPLIT_BY_DESIGN:
        return hashed_split("sign", name)
    held_out = 2 if designs >= 7 else 1
    if place > designs - held_out:
        return "test"
    return "validation" if place == designs - held_out else "train"


def game_icons(cache: Path) -> Iterator[Picture]:
    package = folder(cache, "game-icons")
    for name in _icons(package)["icons"]:
        svg = icon_svg(package, name)
        if svg is not None:
            yield _picture(name.replace("-", " "), "icon", "game-icons", "train", svg)


def clip_art(cache: Path) -> Iterator[Picture]:
    """Yield clip art, split by file; the name is its title, the kind its folder."""
    root = folder(cache, "openclipart") / "usr/share/openclipart/svg"
    for path in sorted(root.rglob("*.svg")):
        if path.is_symlink() or path.stat().st_size > 400_000:
            continue
        text = path.read_text(errors="replace")
        kind = "/".join(path.relative_to(root).parts[:-1])
        yield _picture(_title(text, path), kind, "clip art", hashed_split("clip", path.name), text)


def _title(text: str, path: Path) -> str:
    title = re.search(r"<dc:title>([^<]+)</dc:title>", text)
    words = re.sub(r"[^a-z ]+", " ", (title.group(1) if title else path.stem).lower())
    return " ".join(words.split())
