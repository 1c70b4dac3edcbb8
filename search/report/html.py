"""The page `report.html` of a search: one self-contained file that needs no network."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jinja2
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from search.confirmation.answer import confirmed_on
from search.report import confirmation, facts, heat_maps, plots, similarity
from search.report.terminal import export_command
from search.results.formatting import format_knobs, format_mean_std, format_metric, format_number
from search.results.front_marks import front_marks
from search.results.outcome import Outcome, read_outcome
from search.results.panel_notes import panel_note
from spaces.files import write_atomically
from tasks import EXTRA_SCORES
from trainables.metrics.glossary import GLOSSARY

TEMPLATES = Path(__file__).parent / "templates"


def write_report(folder: Path) -> Path:
    """Write `report.html` into a search's folder; raise `InputError` for any other folder."""
    path = folder / "report.html"
    write_atomically(path, render("report.html", read_outcome(folder)))
    return path


def render(template: str, outcome: Outcome) -> str:
    """Return the HTML of the page, or of one of its sections."""
    return environment().get_template(template).render(outcome=outcome)


@functools.cache
def environment() -> jinja2.Environment:
    """Return the templates' environment: text is escaped, a missing value is an error."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "knobs": format_knobs,
        "mean_std": format_mean_std,
        "metric": format_metric,
        "number": format_number,
        "shade": heat_maps.shade,
        "values": _values,
    }
    made.tests |= {"nan": math.isnan, "single_stage": heat_maps.is_single_stage}
    modules = {"confirmation": confirmation, "facts": facts, "heat_maps": heat_maps}
    modules |= {"plots": plots, "similarity": similarity}
    made.globals |= {**modules, "export_command": export_command}
    made.globals |= {"confirmed_on": confirmed_on}
    made.globals |= {"front_marks": front_marks, "panel_note": panel_note}
    made.globals |= {"EXTRA_SCORES": EXTRA_SCORES, "GLOSSARY": GLOSSARY}
    made.globals |= {"plotly_div": _plotly_div, "plotly_source": get_plotlyjs}
    return made


def _values(row: Mapping[str, Any], names: Iterable[str]) -> list[Any]:
    return [row.get(name) for name in names]


def _plotly_div(figure: go.Figure, name: str) -> str:
    config = {"displayModeBar": False, "responsive": True}
    return figure.to_html(full_html=False, include_plotlyjs=False, config=config, div_id=name)
