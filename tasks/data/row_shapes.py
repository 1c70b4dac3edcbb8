"""Sizes of the parts of every row of a split, computed in Arrow: no example is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

IMAGE = "<image>"
"""Mark of an image's place in a prompt."""


@dataclass(frozen=True)
class RowShapes:
    """Sizes by row, as arrays of whole numbers."""

    characters: np.ndarray
    """Characters of system text, earlier turns, prompt and answer."""
    answer_characters: np.ndarray
    system: np.ndarray
    """Number of system texts of the row: 0 or 1."""
    turns: np.ndarray
    """Earlier turns."""
    images: np.ndarray
    marks: np.ndarray
    """Marks of images in the prompt, and 1 more if it begins with one."""
    earlier_marks: np.ndarray
    """Marks of images in the prompts of earlier turns."""


def row_shapes(text: pa.Table, cells: pa.ChunkedArray | None) -> RowShapes:
    """Return the shapes of the rows of a table; `cells` are its images if they are in the rows."""
    count: Any = pc  # type checkers do not see its functions
    prompt, answer = text.column("prompt"), text.column("answer")
    prompts, answers = _lengths(prompt), _lengths(answer)
    system = np.zeros(len(prompts), dtype=np.int64)
    if "system" in text.column_names:
        system = _lengths(text.column("system"))
    turns, earlier, earlier_marks = _turns(text)
    if cells is None:
        images = _filled(count.list_value_length(text.column("images")))
    else:
        values = count.struct_field(cells, "bytes") if pa.types.is_struct(cells.type) else cells
        images = _filled(count.cast(count.is_valid(values), pa.int64()))
    marks = _filled(count.count_substring(prompt, IMAGE))
    marks = marks + _filled(count.cast(count.starts_with(prompt, IMAGE), pa.int64()))
    return RowShapes(
        characters=prompts + answers + system + earlier,
        answer_characters=answers,
        system=(system > 0).astype(np.int64),
        turns=turns,
        images=images,
        marks=marks,
        earlier_marks=earlier_marks,
    )


def _turns(text: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the number of earlier turns of each row, their characters, and their marks of images."""
    turns, characters, marks = np.zeros((3, text.num_rows), dtype=np.int64)
    if "history" not in text.column_names:
        return turns, characters, marks
    count: Any = pc
    column = text.column("history")
    turns = _filled(count.list_value_length(column))
    parents = np.repeat(np.arange(text.num_rows), turns)
    flat = count.list_flatten(column)
    for name in ("prompt", "answer"):
        sizes = _lengths(count.struct_field(flat, name))
        characters += np.bincount(parents, weights=sizes, minlength=text.num_rows).astype(np.int64)
    found = _filled(count.count_substring(count.struct_field(flat, "prompt"), IMAGE))
    marks = np.bincount(parents, weights=found, minlength=text.num_rows).astype(np.int64)
    return turns, characters, marks


def _lengths(column: Any) -> np.ndarray:
    count: Any = pc
    if pa.types.is_dictionary(column.type):
        column = count.cast(column, column.type.value_type)
    return _filled(count.utf8_length(column))


def _filled(column: Any) -> np.ndarray:
    """Return numbers as an array; null is 0."""
    count: Any = pc
    return np.asarray(count.fill_null(column, 0), dtype=np.int64)
