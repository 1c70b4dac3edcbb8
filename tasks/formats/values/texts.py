"""Texts, numbers and dates of a row as texts."""

from __future__ import annotations

import datetime
import decimal
import math
import numbers
from typing import Any

from tasks.data.placeholders import visible
from tasks.formats.raw_example import RowError, brief
from tasks.formats.values.noted_row import is_missing

EXACT = 2**53
"""Largest number up to which a float holds every whole number."""


def as_text(value: Any, what: str) -> str:
    """Return a value as text, numbers and dates too; raise `RowError` if it is empty or no text."""
    if is_missing(value):
        raise RowError(f"no {what}")
    if isinstance(value, bool):
        raise RowError(f"{what} is a truth value", f"{value}: write yes or no, or true or false")
    if not isinstance(value, str):
        value = _written(value, what)
    if not visible(value):
        raise RowError(f"empty {what}")
    return valid_utf8(value, what)


def _written(value: Any, what: str) -> str:
    """Return a number or date as its file has it: a column of whole numbers with a gap is of floats."""
    if isinstance(value, numbers.Integral):
        return str(value)
    if isinstance(value, numbers.Real) and math.isfinite(value):
        near = float(value)
        return str(int(near)) if near.is_integer() and abs(near) <= EXACT else str(value)
    if isinstance(value, decimal.Decimal) and value.is_finite():
        return str(value)
    if isinstance(value, datetime.date | datetime.time):
        return str(value)
    raise RowError(f"{what} is no text", brief(value))


def valid_utf8(value: str, what: str) -> str:
    """Return the text itself; raise `RowError` if no UTF-8 file could hold it."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise RowError(f"{what} is no valid UTF-8", brief(value)) from None
    return value


def whole_number(value: Any) -> int | None:
    """Return a whole number, also a float without a fraction or digits in a text; None for all else."""
    if isinstance(value, bool) or is_missing(value):
        return None
    if isinstance(value, str):
        digits = value.strip()
        return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 5 else None
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real) and math.isfinite(value) and float(value).is_integer():
        return int(float(value))
    return None
