"""Parquet, Arrow and saved Hugging Face datasets with columns for question, answer(s) and image.

An image is a struct {bytes, path}, bytes, a path, or a list of them. Columns are named as in `pairs`.
"""

from __future__ import annotations

from tasks.formats.fields import question as examples
from tasks.formats.pairs import fits

NAME = "table"
TITLE = "table: columns question (or prompt), answer (or answers), image {bytes, path}"

__all__ = ["NAME", "TITLE", "examples", "fits"]
