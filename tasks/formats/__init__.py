"""Readers of the formats that instruction data come in, and which of them a file is in."""

from __future__ import annotations

from tasks.formats.detect import FORMATS, Detection, detect, known_format
from tasks.formats.reader import read_items
from tasks.formats.record import Accepted, Item, Record, Reference, Rejected

__all__ = [
    "FORMATS",
    "Accepted",
    "Detection",
    "Item",
    "Record",
    "Reference",
    "Rejected",
    "detect",
    "known_format",
    "read_items",
]
