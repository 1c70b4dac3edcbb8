"""Encoded images: whether a picture can be made of one, and of what size."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass

from PIL import Image

MOST_PIXELS = 89_478_485
"""Pillow's own limit for what may be a decompression bomb: a quarter of a gigabyte of RGB."""
# Readers that only decode: Pillow's reader of EPS starts another program.
READ = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "ICO", "TGA")


@dataclass(frozen=True)
class Picture:
    """What is known of a picture: format, mode, and size in pixels."""

    format: str
    mode: str
    width: int
    height: int


def look(image: bytes) -> Picture | str:
    """The picture, decoded once to see that it is whole; or what is wrong with it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about bombs, which are refused here, and odd EXIF
            with Image.open(io.BytesIO(image), formats=READ) as picture:
                if picture.width * picture.height > MOST_PIXELS:
                    return f"{picture.width} x {picture.height} pixels are more than {MOST_PIXELS}"
                found = Picture(picture.format or "", picture.mode, picture.width, picture.height)
                picture.load()  # all of it: a truncated file has a good header
    except Image.DecompressionBombError:
        return f"more than {MOST_PIXELS} pixels"
    except Exception as error:  # Pillow's readers raise whatever broken bytes lead them to
        # Without the address of the buffer, which differs from run to run.
        return "no image format known" if "BytesIO" in str(error) else f"{error}"
    return found


def decoding_fault(image: bytes) -> str | None:
    """What is wrong with an encoded image, or None."""
    found = look(image)
    return found if isinstance(found, str) else None
