"""Plots of the report, in colours that colour-blind readers and grey print keep apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

from search.results.formatting import format_duration, format_knobs, format_metric, format_number
from search.results.outcome import Outcome
from spaces.references import CEILING, FLOOR, REFERENCES

# Okabe and Ito's palette, then Tol's; only reference runs are grey and black.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
PALETTE += ("#882255", "#999933", "#332288", "#44AA99", "#AA4499", "#661100")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "star", "hexagon")
SYMBOLS += ("cross", "x", "triangle-down", "pentagon", "bowtie", "hourglass")
NBSP = "\u00a0"
GREY, INK, LINE = "#767676", "#222222", "#dddddd"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"


def colours(outcome: Outcome) -> dict[str, str]:
    """Return a colour for each strategy, the same for all searches with the same strategies."""
    others = sorted(set(outcome.strategies) - {*REFERENCES})
    palette = {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(others)}
    return palette | {FLOOR: GREY, CEILING: INK}


def pareto(outcome: Outcome) -> go.Figure:
    """Plot the trials that have both objectives, with front, floor and ceiling."""
    y, x = outcome.objectives[0][0], _other_metric(outcome)
    figure = blank_figure(480)
    _add_references(figure, outcome, y)
    _add_front(figure, outcome, x, y)
    for strategy in sorted(outcome.strategies):
        rows = [r for r in _drawable(outcome, x, y) if r["strategy"] == strategy]
        finished = [row for row in rows if row["state"] == "finished"]
        unfinished = [row for row in rows if row["state"] != "finished"]
        _add_points(figure, outcome, finished, (x, y))
        _add_points(figure, outcome, unfinished, (x, y), legend=not finished)
    directions = dict(outcome.objectives)
    figure.update_xaxes(title_text=_axis(x, directions.get(x, "min")), rangemode="tozero")
    figure.update_yaxes(title_text=_axis(y, directions[y]))
    return figure


def count_undrawn(outcome: Outcome) -> int:
    """Return how many unfinished trials completed no ordering, so that no plot can show them."""
    unfinished = sum(row["state"] != "finished" for row in outcome.trials.values())
    drawn = _drawable(outcome, _other_metric(outcome), outcome.objectives[0][0])
    return unfinished - sum(row["state"] != "finished" for row in drawn)


def orderings(outcome: Outcome) -> go.Figure:
    """Plot the final average of each strategy's best trial, ordering by ordering."""
    figure = blank_figure(320)
    crowded = len(outcome.run.orderings) * len(outcome.strategies) > 24
    for strategy, row in outcome.strategies.items():
        values = row.get("final_average_by_ordering") or []
        figure.add_bar(
            name=escape(strategy),
            x=[f"ordering {i}" for i in range(1, len(values) + 1)],
            y=values,
            marker_color=colours(outcome)[strategy],
            text=["" if v is None or crowded else f"{v:.2f}" for v in values],
            textposition="outside",
            textangle=0,
            cliponaxis=False,
        )
    figure.update_xaxes(showgrid=False)
    figure.update_layout(barmode="group", bargap=0.25, bargroupgap=0.08)
    figure.update_yaxes(title_text="final average", rangemode="tozero")
    return figure


def by_task(outcome: Outcome) -> go.Figure:
    """Plot the best trial's score on each task: before the sequence, when learned, at the end."""
    assert outcome.best_trial is not None
    scores = _task_means(outcome, outcome.best_trial)
    tasks = [escape(task) for task in reversed(scores)]
    figure = blank_figure(110 + 44 * len(tasks))
    before, learned, final = zip(*reversed(scores.values()), strict=True)
    for i, task in enumerate(tasks):
        figure.add_scatter(
            x=[learned[i], final[i]],
            y=[task, task],
            mode="lines",
            line={"color": LINE, "width": 6},
            hoverinfo="skip",
            showlegend=False,
        )
    for name, values, marker in (
        ("before the sequence", before, {"color": GREY, "symbol": "line-ns-open", "size": 14}),
        ("when just learned", learned, {"color": PALETTE[0], "symbol": "circle-open", "size": 12}),
        ("at the end", final, {"color": PALETTE[1], "symbol": "circle", "size": 12}),
    ):
        marker["line"] = {"width": 2.5, "color": marker["color"]}
        figure.add_scatter(x=values, y=tasks, mode="markers", name=name, marker=marker)
    figure.update_xaxes(title_text="score, mean over orderings", rangemode="tozero")
    figure.update_yaxes(showgrid=False)
    return figure


# Parts -------------------------------------------------------------------------------------------


def blank_figure(height: int) -> go.Figure:
    """Return a figure with the report's axes, `height` pixels high."""
    figure = go.Figure()
    axis = {"gridcolor": "#ececec", "linecolor": "#999999", "zeroline": False, "ticks": "outside"}
    axis |= {"automargin": True, "tickcolor": "#999999", "title": {"font": {"size": 13}}}
    figure.update_layout(
        height=height,
        template="none",
        font={"family": FONT, "size": 13, "color": INK},
        margin={"l": 70, "r": 20, "t": 40, "b": 60},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        hoverlabel={"align": "left", "bgcolor": "white"},
        xaxis=axis,
        yaxis=axis,
    )
    return figure


def _other_metric(outcome: Outcome) -> str:
    """Return the metric of the x axis: the second objective, or forgetting if there is none."""
    (first, _), *others = outcome.objectives
    if others:
        return others[0][0]
    return "forgetting" if first != "forgetting" else "final_average"


def _drawable(outcome: Outcome, x: str, y: str) -> list[Mapping[str, Any]]:
    return [r for r in outcome.trials.values() if None not in (r.get(x), r.get(y))]


def _axis(metric: str, mode: str) -> str:
    return f"{format_metric(metric)} ({'more' if mode == 'max' else 'less'} is better)"


def _add_references(figure: go.Figure, outcome: Outcome, metric: str) -> None:
    for strategy, word, dash in ((FLOOR, "floor", "dot"), (CEILING, "ceiling", "dash")):
        row = outcome.reference_row(strategy)
        if row and row.get(metric) is not None:
            figure.add_hline(
                y=row[metric],
                line={"color": colours(outcome)[strategy], "dash": dash, "width": 1.5},
                annotation_text=f"{word}: {strategy} {format_number(row[metric])}",
                annotation_position="top left",
                annotation_font_size=12,
            )


def _add_front(figure: go.Figure, outcome: Outcome, x: str, y: str) -> None:
    # Steps bound the region that the front dominates; other directions get a plain line.
    steps = dict(outcome.objectives).get(y) == "max" and dict(outcome.objectives).get(x) == "min"
    rows = sorted((outcome.trials[name] for name in outcome.front), key=lambda row: row.get(x) or 0)
    figure.add_scatter(
        x=[row.get(x) for row in rows],
        y=[row.get(y) for row in rows],
        mode="lines+markers",
        name="Pareto front",
        line={"color": "#b9b9b9", "width": 2, "shape": "hv" if steps else "linear"},
        marker={"size": 20, "symbol": "circle-open", "color": "#b9b9b9", "line_width": 2},
        hoverinfo="skip",
    )


def _add_points(
    figure: go.Figure,
    outcome: Outcome,
    rows: Sequence[Mapping[str, Any]],
    metrics: tuple[str, str],
    legend: bool = True,
) -> None:
    if not rows:
        return
    strategy, finished = rows[0]["strategy"], rows[0]["state"] == "finished"
    figure.add_scatter(
        x=[row[metrics[0]] for row in rows],
        y=[row[metrics[1]] for row in rows],
        mode="markers+text",
        name=escape(strategy) + ("" if finished else ", unfinished"),
        marker=_marker(outcome, strategy, finished),
        opacity=1 if finished else 0.45,
        showlegend=legend,
        text=[f"{NBSP * 3}best" if row["name"] == outcome.best_trial else "" for row in rows],
        textposition="middle right",
        hovertext=[_hover_text(outcome, row) for row in rows],
        hovertemplate="%{hovertext}<extra></extra>",
    )


def _marker(outcome: Outcome, strategy: str, finished: bool) -> dict[str, Any]:
    symbol = SYMBOLS[sorted(outcome.strategies).index(strategy) % len(SYMBOLS)]
    return {
        "color": colours(outcome)[strategy],
        "symbol": symbol if finished else f"{symbol}-open",
        "size": 11,
        "line_width": 0 if finished else 1.5,
    }


def _hover_text(outcome: Outcome, row: Mapping[str, Any]) -> str:
    head = f"<b>{escape(row['strategy'])}</b>, trial {escape(row['name'])}"
    state = f"{row['state']} after {row['stages_done']} of {row['stages_total']} stages"
    metrics = [
        f"{format_metric(m)} {format_number(row[m])}"
        for m in ("final_average", "forgetting")
        if m in row
    ]
    knobs = escape(format_knobs(outcome.varied_knobs(row["name"]))).split(", ")
    cost = f"training {format_duration(row.get('train_seconds') or 0)}"
    return "<br>".join(
        [head, *([state] if row["state"] != "finished" else []), *metrics, *knobs, cost]
    )


def _task_means(outcome: Outcome, trial: str) -> dict[str, tuple[float | None, ...]]:
    """Return each task's mean score over the orderings: before, when learned, at the end."""
    cells = [c for c in outcome.cells if c["trial"] == trial]
    last = {c["ordering"]: 0 for c in cells}
    for cell in cells:
        last[cell["ordering"]] = max(last[cell["ordering"]], cell["stage"])
    moments = (
        lambda c: c["stage"] == 0,
        lambda c: c["stage"] == c["position"],
        lambda c: c["stage"] == last[c["ordering"]],
    )
    tasks = dict.fromkeys(c["task"] for c in cells)
    return {
        t: tuple(_mean(c for c in cells if c["task"] == t and k(c)) for k in moments) for t in tasks
    }


def _mean(cells: Any) -> float | None:
    scores = [cell["score"] for cell in cells if cell["score"] is not None]
    return sum(scores) / len(scores) if scores else None
