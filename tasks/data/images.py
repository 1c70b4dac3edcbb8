"""Encoded images: format and size of those that can be decoded, and the fault of the others."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass

from PIL import Image

MOST_PIXELS = 89_478_485
"""Pillow's own limit for what may be a decompression bomb: a quarter of a gigabyte of RGB."""
DECODED_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "ICO", "TGA")
"""Formats whose readers only decode: Pillow's reader of EPS starts another program."""


@dataclass(frozen=True)
class ImageInfo:
    """Format, mode, and size in pixels of an image."""

    format: str
    mode: str
    width: int
    height: int


def inspect_image(image: bytes) -> ImageInfo | str:
    """Decode an image once to see that it is whole; return its description, or its fault."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about bombs, which are refused here, and odd EXIF
            with Image.open(io.BytesIO(image), formats=DECODED_FORMATS) as picture:
                if picture.width * picture.height > MOST_PIXELS:
                    return f"{picture.width} x {picture.height} pixels are more than {MOST_PIXELS}"
                info = ImageInfo(picture.format or "", picture.mode, picture.width, picture.height)
                picture.load()  # all of it: a truncated file has a good header
    except Image.DecompressionBombError:
        return f"more than {MOST_PIXELS} pixels"
    except Exception as error:  # Pillow's readers raise many types for broken bytes
        # Without the address of the buffer, which differs from run to run.
        return "no image format known" if "BytesIO" in str(error) else f"{error}"
    return info


def decoding_fault(image: bytes) -> str | None:
    """Return the fault of an encoded image, or None if it can be decoded."""
    info = inspect_image(image)
    return info if isinstance(info, str) else None
