"""Encoded images: format and size of those that can be decoded, and the fault of the others."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

from tasks.data.pictures import DEEP, ORIENTATION, PAGES, PictureError, opened


@dataclass(frozen=True)
class ImageInfo:
    """Format and mode of an image, and its size in pixels as it is seen."""

    format: str
    mode: str
    width: int
    height: int
    frames: int = 1
    turned: bool = False
    """True: EXIF turns or mirrors it."""
    transparent: bool = False
    profile: bool = False
    """True: it has a colour profile other than sRGB."""

    def remarks(self) -> list[str]:
        """Return how the picture differs from what is stored, in words for a count before them."""
        deep = self.mode in (*DEEP, "I")
        rules = {
            "have frames or pages: the first is used": self.frames > 1,
            "are turned upright, as EXIF says": self.turned,
            "are transparent: white lies below": self.transparent,
            "have 16 bits: 65535 is white": deep,
            "are CMYK": self.mode == "CMYK",
            "have a colour profile that is not applied": self.profile and self.mode != "CMYK",
        }
        return [text for text, applies in rules.items() if applies]


def inspect_image(image: bytes) -> ImageInfo | str:
    """Decode an image once to see that it is whole; return its description, or its fault."""
    try:
        with opened(image) as picture:
            info = _described(picture)
            if picture.format == "JPEG":
                picture.draft(picture.mode, (1, 1))  # all is read still, at an eighth of the size
            picture.load()  # all of it: a truncated file has a good header
            return info
    except PictureError as fault:
        return str(fault)


def _described(picture: Image.Image) -> ImageInfo:
    turn = picture.getexif().get(ORIENTATION, 1)
    width, height = picture.size
    sideways = turn in (5, 6, 7, 8) and picture.format != "TIFF"  # whose reader turns it itself
    frames = 1 if picture.format in PAGES else getattr(picture, "n_frames", 1)
    profile = picture.info.get("icc_profile") or b""
    return ImageInfo(
        format=picture.format or "",
        mode=picture.mode,
        width=height if sideways else width,
        height=width if sideways else height,
        frames=frames,
        turned=turn in range(2, 9),
        transparent=picture.has_transparency_data,
        profile=bool(profile) and b"sRGB" not in profile,
    )


def decoding_fault(image: bytes) -> str | None:
    """Return the fault of an encoded image, or None if it can be decoded."""
    info = inspect_image(image)
    return info if isinstance(info, str) else None
