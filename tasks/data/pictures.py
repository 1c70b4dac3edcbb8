"""Pictures as a person sees them: the rules by which every encoded image becomes RGB of 8 bits.

- The orientation of EXIF is applied; of several frames or pages, the first is taken.
- What is transparent lies on white; grey, palettes, 1 bit and YCbCr become RGB.
- Of 16 bits, 65535 is white. Whole numbers of 32 bits and fractions state no white, and are refused.
- CMYK is converted by its colour profile if it has one; other profiles are not applied.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from PIL import Image, ImageCms, ImageOps

MOST_PIXELS = 89_478_485
"""Pillow's own limit for what may be a decompression bomb: a quarter of a gigabyte of RGB."""
DECODED_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "ICO", "TGA")
"""Formats whose readers only decode: Pillow's reader of EPS starts another program."""
DEEP = ("I;16", "I;16L", "I;16B", "I;16N")
"""Modes of 16 bits."""
SCALED = ("PNG", "PPM")
"""Formats whose mode `I` holds numbers up to 65535."""
ORIENTATION = 0x0112
"""Tag of the orientation in EXIF."""
PAGES = ("MPO",)
"""Formats whose further frames are no pictures of their own: previews and depths of phones."""


class PictureError(ValueError):
    """Fault of an encoded image; the message is for its owner."""


def picture_rgb(image: bytes) -> Image.Image:
    """Decode an encoded image as a person sees it; raise `PictureError` if that cannot be told."""
    with opened(image) as picture:
        return as_seen(picture)


@contextmanager
def opened(image: bytes) -> Iterator[Image.Image]:
    """Open an encoded image, of which nothing but the header is read; raise `PictureError` for faults."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about bombs, which are refused here, and odd EXIF
            with Image.open(io.BytesIO(image), formats=DECODED_FORMATS) as picture:
                if picture.width * picture.height > MOST_PIXELS:
                    size = f"{picture.width} x {picture.height}"
                    raise PictureError(f"{size} pixels are more than {MOST_PIXELS}")
                check_depth(picture)
                yield picture
    except PictureError:
        raise
    except Image.DecompressionBombError:
        raise PictureError(f"more than {MOST_PIXELS} pixels") from None
    except Exception as error:  # Pillow's readers raise many types for broken bytes
        # Without the address of the buffer, which differs from run to run.
        unknown = "BytesIO" in str(error)
        raise PictureError("no image format known" if unknown else f"{error}") from error


def check_depth(picture: Image.Image) -> None:
    """Raise `PictureError` for numbers that state no white."""
    if picture.mode == "F" or (picture.mode == "I" and picture.format not in SCALED):
        kind = "fractions" if picture.mode == "F" else "whole numbers of 32 bits"
        raise PictureError(f"{kind} state no white: save it with 8 or 16 bits")


def as_seen(picture: Image.Image) -> Image.Image:
    """Return an open picture as RGB, upright, over white."""
    picture.load()
    upright = ImageOps.exif_transpose(picture)
    if upright.mode in (*DEEP, "I"):
        return _of_16_bits(upright).convert("RGB")
    if upright.mode in ("La", "RGBa"):
        upright = upright.convert("LA" if upright.mode == "La" else "RGBA")
    if upright.has_transparency_data:
        layer = upright.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    if upright.mode == "CMYK" and (profile := picture.info.get("icc_profile")):
        with suppress(ImageCms.PyCMSError, OSError):  # a broken profile is as good as none
            return _by_profile(upright, profile)
    return upright.convert("RGB")


def _of_16_bits(picture: Image.Image) -> Image.Image:
    """Return grey of 8 bits: 65535 becomes 255."""
    whole = picture.convert("I")
    return whole.point(lambda value: value * (1 / 257) + 0.5).convert("L")


def _by_profile(picture: Image.Image, profile: bytes) -> Image.Image:
    srgb = ImageCms.createProfile("sRGB")
    seen = ImageCms.profileToProfile(
        picture, ImageCms.ImageCmsProfile(io.BytesIO(profile)), srgb, outputMode="RGB"
    )
    if seen is None:
        raise ImageCms.PyCMSError("no picture")
    return seen
