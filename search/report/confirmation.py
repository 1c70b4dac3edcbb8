"""The confirmation as the report shows it: the same sentences and table as on the screen, and its units."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import plotly.graph_objects as go

from search.confirmation.answer import closing_lines, example_lines, read_answer, recommended
from search.confirmation.results import VALIDATION, Confirmation
from search.confirmation.sentences import COLUMNS, called, verdict_rows
from search.confirmation.verdict import Verdict
from search.report.plots import INK, PALETTE, blank_figure
from search.results.cautions import cautions, validation_sizes
from search.results.formatting import format_metric
from search.results.outcome import Outcome


@dataclass(frozen=True)
class Section:
    """Parts of the report's section on a confirmation."""

    verdict: list[str]
    """Paragraphs: the runs that are missing, and the verdict."""
    head: tuple[str, ...]
    rows: list[list[str]]
    leader: str
    """Name of the leader as the table calls it; empty without one."""
    notes: list[str]
    """Line on the test examples, if there is one."""
    figure: go.Figure


def section(outcome: Outcome) -> Section | None:
    """Return the section on a search's confirmation; None if it has none."""
    answer = read_answer(outcome.run.folder)
    if answer is None:
        return None
    confirmation, verdict = answer
    named = {one.name: called(one) for one in confirmation.plan.finalists}
    return Section(
        verdict=closing_lines(confirmation, verdict),
        head=COLUMNS,
        rows=verdict_rows(verdict, confirmation.plan),
        leader=named.get(verdict.leader, ""),
        notes=example_lines(confirmation, verdict),
        figure=units_figure(confirmation, verdict),
    )


def notes(outcome: Outcome) -> list[str]:
    """Return what to know of the recommended trial, or else of the best one, as on the screen."""
    return cautions(outcome, validation_sizes(outcome), recommended(outcome.run.folder))


def units_figure(confirmation: Confirmation, verdict: Verdict) -> go.Figure:
    """Plot each finalist's score on each unit as a dot, and the interval of its mean as a line."""
    plan = confirmation.plan
    sign = 1 if plan.higher_is_better else -1
    figure = blank_figure(120 + 44 * len(plan.finalists))
    for place, finalist in enumerate(reversed(plan.finalists)):
        name, colour = escape(called(finalist)), PALETTE[0] if finalist.may_win else INK
        scores = [
            (unit + 1, sign * value)
            for unit in range(len(plan.units))
            if (value := confirmation.score(unit, finalist.name, VALIDATION)) is not None
        ]
        if mean := verdict.scores.get(finalist.name):
            ends = [sign * mean.low, sign * mean.high] if mean.df else [sign * mean.estimate] * 2
            figure.add_scatter(
                x=ends,
                y=[name, name],
                mode="lines",
                line={"color": colour, "width": 6},
                opacity=0.3,
                name="95 % interval of the mean",
                hoverinfo="skip",
                showlegend=not place,
            )
        figure.add_scatter(
            x=[score for _, score in scores],
            y=[name] * len(scores),
            mode="markers",
            marker={"color": colour, "size": 9, "line": {"width": 1, "color": "white"}},
            name="one unit",
            text=[f"unit {unit}: {score:.3f}" for unit, score in scores],
            hovertemplate="%{text}<extra></extra>",
            showlegend=not place,
        )
    figure.update_xaxes(title_text=f"{format_metric(plan.metric)} on the validation split")
    figure.update_yaxes(showgrid=False)
    return figure
