"""Pictures reach the model as a person sees them, whatever their file's mode, depth and orientation."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tasks.data.images import ImageInfo, decoding_fault, inspect_image
from tasks.data.pictures import ORIENTATION, PictureError, picture_rgb

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""Turns that undo what EXIF asks for."""


def encoded(picture: Image.Image, format: str, **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, format, **options)
    return out.getvalue()


def drawn(width: int, height: int, seed: int) -> Image.Image:
    """Return a picture of large blocks, which JPEG keeps."""
    blocks = np.random.default_rng(seed).integers(0, 256, (2, 2, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize((width, height), Image.Resampling.NEAREST)


@settings(max_examples=120, deadline=None)
@given(
    st.sampled_from(["PNG", "JPEG", "TIFF", "WEBP"]),
    st.integers(1, 8),
    st.integers(8, 40),
    st.integers(8, 40),
    st.integers(0, 99),
)
def test_exif_turns_a_picture_of_any_format_upright(
    format: str, orientation: int, width: int, height: int, seed: int
) -> None:
    meant = drawn(width, height, seed)
    stored = meant.transpose(TURNS[orientation]) if orientation > 1 else meant
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options: dict[str, Any] = {"exif": exif}
    options |= {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}.get(
        format, {}
    )
    image = encoded(stored, format, **options)
    seen, info = picture_rgb(image), inspect_image(image)
    assert isinstance(info, ImageInfo) and (info.width, info.height) == seen.size == meant.size
    assert info.turned == (orientation > 1)
    differences = np.abs(np.asarray(seen).astype(int) - np.asarray(meant))
    assert np.median(differences) <= (12 if format == "JPEG" else 0)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["PNG", "TIFF", "JPEG2000", "PPM"]), st.integers(0, 65535), st.booleans())
def test_of_16_bits_65535_is_white(format: str, value: int, spread: bool) -> None:
    numbers = np.full((8, 8), value, np.uint16)
    if spread:
        numbers[0] = np.arange(8) * 9000
    head = b"P5 8 8 65535\n"
    ppm = head + numbers.astype(">u2").tobytes()
    image = ppm if format == "PPM" else encoded(Image.fromarray(numbers), format)
    seen = np.asarray(picture_rgb(image)).astype(int)
    assert np.abs(seen - np.round(numbers / 257)[..., None]).max() <= 1
    info = inspect_image(image)
    assert isinstance(info, ImageInfo) and "have 16 bits: 65535 is white" in info.remarks()


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["RGBA", "LA"]),
    st.sampled_from(["PNG", "TIFF"]),
    st.integers(0, 255),
    st.integers(0, 255),
)
def test_white_lies_below_what_is_transparent(
    mode: str, format: str, grey: int, opacity: int
) -> None:
    colour = (grey, opacity) if mode == "LA" else (grey, grey, grey, opacity)
    meant = grey * opacity / 255 + 255 - opacity
    seen = np.asarray(picture_rgb(encoded(Image.new(mode, (6, 5), colour), format)))
    assert np.abs(seen - meant).max() <= 2


def test_transparent_colours_of_a_palette_are_white() -> None:
    palette = Image.new("RGB", (6, 5), (204, 51, 51)).convert("P")
    image = encoded(palette, "PNG", transparency=palette.getpixel((0, 0)))
    assert picture_rgb(image).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "RGB"])
@pytest.mark.parametrize("format", ["TIFF", "JPEG"])
def test_other_modes_are_seen_in_their_colours(mode: str, format: str) -> None:
    meant = Image.new("RGB", (16, 16), "white" if mode in ("1", "L") else (204, 51, 51))
    if format == "JPEG" and mode in ("1", "P"):
        format = "PNG"
    seen = picture_rgb(encoded(meant.convert(mode), format))
    assert np.abs(np.asarray(seen).astype(int) - np.asarray(meant)).max() <= 8


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        (np.zeros((4, 4), np.float32), "fractions state no white: save it with 8 or 16 bits"),
        (np.zeros((4, 4), np.int32), "whole numbers of 32 bits state no white"),
    ],
)
def test_numbers_without_a_white_are_refused(numbers: Any, message: str) -> None:
    image = encoded(Image.fromarray(numbers), "TIFF")
    assert (decoding_fault(image) or "").startswith(message)
    with pytest.raises(PictureError, match=message):
        picture_rgb(image)


@pytest.mark.parametrize("format", ["GIF", "WEBP", "TIFF", "PNG"])
def test_of_several_frames_the_first_is_used_and_said(format: str) -> None:
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue", "lime")]
    options = {"lossless": True} if format == "WEBP" else {}
    image = encoded(frames[0], format, save_all=True, append_images=frames[1:], **options)
    assert picture_rgb(image).getpixel((0, 0)) == (255, 0, 0)
    info = inspect_image(image)
    assert isinstance(info, ImageInfo) and info.frames == 3
    assert info.remarks() == ["have frames or pages: the first is used"]


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"]), st.data())
def test_a_damaged_picture_is_seen_or_has_a_fault(format: str, data: st.DataObject) -> None:
    image = bytearray(encoded(drawn(20, 30, 1), format))
    place = data.draw(st.integers(0, len(image) - 1))
    if data.draw(st.booleans()):
        del image[place:]
    else:
        image[place] ^= data.draw(st.integers(1, 255))
    if decoding_fault(bytes(image)) is None:
        assert picture_rgb(bytes(image)).mode == "RGB"


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_cut_photo_is_found_at_any_place(progressive: bool, share: float) -> None:
    buffer = io.BytesIO()
    Image.effect_noise((120, 90), 80).convert("RGB").save(buffer, "JPEG", progressive=progressive)
    whole = buffer.getvalue()
    info = inspect_image(whole)
    assert not isinstance(info, str)
    assert (info.width, info.height) == (120, 90)
    assert "truncated" in str(inspect_image(whole[: int(len(whole) * share)]))
