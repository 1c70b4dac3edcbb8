"""Pieces of an HTML page: tables, heat maps, lists. Whatever comes in as text is escaped."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go

from search.results.formatting import format_number
from trainables.metrics.score_matrix import ScoreMatrix

INITIAL = " (initial)"
# Light to dark blue: an order that every eye and every printer keeps.
SCALE = ((247, 251, 255), (198, 219, 239), (107, 174, 214), (33, 113, 181), (8, 48, 107))


def table(
    head: Sequence[str], rows: Iterable[Sequence[Any]], sortable: bool = False, strong: str = ""
) -> str:
    """A table; numbers stand to the right, and the row that begins with `strong` stands out."""
    heads = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(_row(row, bool(strong) and str(row[0]) == strong) for row in rows)
    kind = ' class="sortable"' if sortable else ""
    return (
        f'<div class="wide"><table{kind}><thead><tr>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _row(row: Sequence[Any], strong: bool) -> str:
    cells = "".join(_cell(value) for value in row)
    return f'<tr class="strong">{cells}</tr>' if strong else f"<tr>{cells}</tr>"


def _cell(value: Any) -> str:
    if isinstance(value, int | float):
        return f'<td class="number" data-value="{value!r}">{escape(format_number(value))}</td>'
    text = "" if value is None else str(value)
    short = ' class="short"' if len(text) <= 24 else ""
    return f"<td{short}>{escape(text)}</td>"


def pairs(values: Mapping[str, Any]) -> str:
    """Names and values as a definition list."""
    rows = (f"<dt>{escape(name)}</dt><dd>{escape(str(v))}</dd>" for name, v in values.items())
    return f"<dl>{''.join(rows)}</dl>"


def items(lines: Iterable[str]) -> str:
    """A list of lines."""
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of plain text."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def plot(figure: go.Figure, name: str) -> str:
    """A plot; the page brings plotly itself, once."""
    config = {"displayModeBar": False, "responsive": True}
    html = figure.to_html(full_html=False, include_plotlyjs=False, config=config, div_id=name)
    return f'<div class="plot">{html}</div>'


def heat_map(matrix: ScoreMatrix, top: float, caption: str) -> str:
    """A score matrix; the cell of the task just learned is framed, a cell never scored is empty."""
    heads = "".join(
        f"<th><span>{escape(task)}{INITIAL * (task in matrix.initial)}</span></th>"
        for task in matrix.columns
    )
    stages = [0, matrix.stages] if at_once(matrix) else range(matrix.stages + 1)
    rows = "".join(_heat_row(matrix, stage, top) for stage in stages)
    return (
        f'<table class="heat"><caption>{escape(caption)}</caption>'
        f"<thead><tr><th></th>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    )


def at_once(matrix: ScoreMatrix) -> bool:
    """Whether all tasks were learned in a single stage, as in joint tuning."""
    return matrix.stages > 1 and bool(np.isnan(matrix.values[1:-1]).all())


def _heat_row(matrix: ScoreMatrix, stage: int, top: float) -> str:
    together = at_once(matrix)
    label = "before" if not stage else "all at once" if together else _stage(matrix, stage)
    cells = [
        _heat_cell(score, top, f"{task}, {label}", position == stage and not together)
        for position, (task, score) in enumerate(matrix.row(stage).items(), start=1)
    ]
    return f"<tr><th>{escape(label)}</th>{''.join(cells)}</tr>"


def _stage(matrix: ScoreMatrix, stage: int) -> str:
    return f"{stage} {matrix.tasks[stage - 1]}"


def _heat_cell(score: float, top: float, title: str, learned: bool) -> str:
    if math.isnan(score):
        return f'<td class="never" title="{escape(title)}: never scored"></td>'
    share = min(1.0, max(0.0, score / top))
    kind = ' class="learned"' if learned else ""
    ink = "#fff" if share > 0.55 else "#111"
    style = f"background:{_colour(share)};color:{ink}"
    return f'<td{kind} style="{style}" title="{escape(title)}: {score:.4f}">{score:.2f}</td>'


def scale(top: float) -> str:
    """The legend of the heat maps."""
    stops = ", ".join(_colour(i / 8) for i in range(9))
    return (
        f'<div class="scale"><span>0</span><i style="background:linear-gradient(90deg,{stops})">'
        f"</i><span>{top:g}</span></div>"
    )


def _colour(share: float) -> str:
    place = share * (len(SCALE) - 1)
    low = min(int(place), len(SCALE) - 2)
    mixed = [
        round(a + (b - a) * (place - low)) for a, b in zip(SCALE[low], SCALE[low + 1], strict=True)
    ]
    return "rgb({},{},{})".format(*mixed)
