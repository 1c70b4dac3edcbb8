"""Square RGB pictures on a plain background, made of vector graphics, fonts and arrays."""

import hashlib
import io
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import resvg_py
from PIL import Image, ImageDraw, ImageFont

WHITE = (255, 255, 255)
Color = tuple[int, int, int]

COLORS: dict[str, Color] = {
    "red": (206, 32, 41),
    "orange": (240, 135, 20),
    "yellow": (252, 209, 30),
    "green": (0, 135, 70),
    "light blue": (110, 180, 235),
    "blue": (10, 60, 160),
    "purple": (120, 50, 150),
    "pink": (235, 120, 170),
    "brown": (120, 70, 30),
    "black": (12, 12, 12),
    "white": (250, 250, 250),
    "grey": (140, 140, 140),
}


@dataclass(frozen=True)
class Picture:
    """Name, kind and design of a picture, its split, and a function that draws it at a given size."""

    name: str
    kind: str
    design: str
    split: str
    draw: Callable[[int], Image.Image]


def seeded(*parts: object) -> random.Random:
    """Make a random generator that depends on its parts alone."""
    key = "/".join(map(str, parts)).encode()
    return random.Random(int.from_bytes(hashlib.sha256(key).digest()[:8], "big"))


def hashed_split(*parts: object, validation: float = 0.15, test: float = 0.25) -> str:
    """Choose a split from the parts alone, for sources without designs to hold out."""
    place = seeded("split", *parts).random()
    return "test" if place < test else "validation" if place < test + validation else "train"


def draw_svg(svg: str, size: int, color: str = "#111111", margin: float = 0.03) -> Image.Image:
    """Draw an SVG centred on a transparent square, with `color` for `currentColor`."""
    svg = svg.replace("currentColor", color)
    drawn = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=3 * size, dpi=96))
    image = Image.open(io.BytesIO(drawn)).convert("RGBA")
    return fit(image.crop(image.getchannel("A").getbbox()), size, margin)


def fit(image: Image.Image, size: int, margin: float = 0.0) -> Image.Image:
    """Scale an image to lie centred in a transparent square."""
    image = image.convert("RGBA")
    inner = size * (1 - 2 * margin)
    scale = inner / max(image.size)
    shape = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    square = Image.new("RGBA", (size, size), (*WHITE, 0))
    image = image.resize(shape, Image.Resampling.LANCZOS)
    square.alpha_composite(image, ((size - shape[0]) // 2, (size - shape[1]) // 2))
    return square


def on_ground(image: Image.Image, ground: Color = WHITE) -> Image.Image:
    """Replace transparency by a plain colour."""
    square = Image.new("RGBA", image.size, (*ground, 255))
    square.alpha_composite(image.convert("RGBA"))
    return square.convert("RGB")


def view(image: Image.Image, chance: random.Random, tilt: float = 8.0) -> Image.Image:
    """Draw a variant of an image: a little smaller, shifted and tilted, on another pale background."""
    size = image.width
    image = image.convert("RGBA").rotate(
        chance.uniform(-tilt, tilt), Image.Resampling.BICUBIC, fillcolor=(*WHITE, 0)
    )
    inner = round(size * chance.uniform(0.82, 0.98))
    place = (chance.randint(0, size - inner), chance.randint(0, size - inner))
    ground = (chance.randint(205, 255), chance.randint(205, 255), chance.randint(205, 255))
    square = Image.new("RGBA", (size, size), (*ground, 255))
    square.alpha_composite(image.resize((inner, inner), Image.Resampling.LANCZOS), place)
    return square.convert("RGB")


def draw_text(
    text: str, font: Path, size: int, chance: random.Random, fill: float = 0.85, wild: bool = True
) -> Image.Image:
    """Draw text in dark ink on a pale background, as large as its width allows.

    If `wild`, it lies anywhere in the picture, and is sometimes pale on dark.
    """
    probe = ImageFont.truetype(str(font), 100)
    left, top, right, bottom = probe.getbbox(text)
    width = size * chance.uniform(fill - 0.1, fill + 0.08)
    points = 100 * min(width / (right - left), 0.72 * size / (bottom - top))
    face = ImageFont.truetype(str(font), round(points))
    left, top, right, bottom = (round(edge) for edge in face.getbbox(text))
    dark = tuple(chance.randint(0, 90) for _ in range(3))
    pale = tuple(chance.randint(200, 255) for _ in range(3))
    ink, ground = (pale, dark) if wild and chance.random() > 0.75 else (dark, pale)
    image = Image.new("RGB", (size, size), ground)
    free = size - (right - left)
    x = chance.randint(1, max(1, free - 1)) if wild else free // 2
    middle, play = (size - (bottom - top)) // 2, size // (10 if wild else 30)
    y = min(max(0, middle + chance.randint(-play, play)), max(0, size - (bottom - top)))
    ImageDraw.Draw(image).text((x - left, y - top), text, fill=ink, font=face)
    return image


def named_colors(image: Image.Image, share: float = 0.08) -> list[str]:
    """Return the colours that cover at least a share of the opaque pixels, largest first."""
    raw = image.convert("RGBA").resize((40, 40), Image.Resampling.NEAREST).tobytes()
    pixels = [raw[i : i + 3] for i in range(0, len(raw), 4) if raw[i + 3] > 200]
    counts = dict.fromkeys(COLORS, 0)
    for pixel in pixels:
        counts[min(COLORS, key=lambda name: _distance(COLORS[name], pixel))] += 1
    large = [name for name in COLORS if counts[name] >= share * len(pixels) > 0]
    return sorted(large, key=lambda name: -counts[name])


def _distance(one: Sequence[int], other: Sequence[int]) -> int:
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True))


def is_blank(image: Image.Image) -> bool:
    """Return whether an image has nearly no contrast, or is nearly one flat area."""
    grey = image.convert("L").resize((32, 32))
    low, high = grey.getextrema()
    ground = max(grey.histogram())
    return not isinstance(low, int) or not isinstance(high, int) or high - low < 40 or ground > 990


def posterised(image: Image.Image, levels: int = 32) -> Image.Image:
    """Reduce the shades of each channel; the image looks the same and takes half the bytes."""
    step = 255 / (levels - 1)
    shades = [round(round(value / step) * step) for value in range(256)]
    return image.convert("RGB").point(shades * 3)


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
