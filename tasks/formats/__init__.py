"""Readers of the formats that instruction data come in, and which of them a file is in."""

from __future__ import annotations

from tasks.formats.detect import FORMATS, Detection, check_format_name, detect
from tasks.formats.raw_example import Accepted, ImageReference, Item, RawExample, Rejected
from tasks.formats.reader import read_items

__all__ = [
    "FORMATS",
    "Accepted",
    "Detection",
    "ImageReference",
    "Item",
    "RawExample",
    "Rejected",
    "check_format_name",
    "detect",
    "read_items",
]
