"""The outcome of a search on the screen: strategies, front, costs, and what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from search.results.formatting import format_duration, format_knobs, format_mean_std, format_number
from search.results.outcome import Outcome, read_outcome

WIDTH = 100
"""Columns of a log; a terminal says its own."""

LEGEND = (
    "Best trial of each strategy; mean ± deviation over orderings. * finished/stopped/failed.\n"
    "front (n): so many of a strategy's trials are on the front."
)


def show_results(folder: Path, console: Console | None = None) -> None:
    """Print the outcome; raises `InputError` if `folder` is no search's folder."""
    console = console or _console()
    verdict = read_outcome(folder)
    console.print()
    console.print(_strategies(verdict))
    console.print(Text(LEGEND, style="dim"), soft_wrap=True)
    console.print(Text(f"\n{verdict.summary()}\n"))
    more = [*_costs(verdict), *unfinished(verdict), *_skipped(verdict), *_next(verdict)]
    for line in [*_front(verdict), "", *more]:
        # One line stays one line in a log: a command broken in two cannot be pasted.
        console.print(Text(line), soft_wrap=True)


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDTH)


def _strategies(verdict: Outcome) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("strategy", overflow="fold")
    table.add_column("trial")
    for name in ("final average", "worst", "forgetting", "learning", "train s", "trials*"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for strategy, row in verdict.strategies.items():
        marks = ", ".join(verdict.labels(strategy))
        style = "bold green" if "best" in verdict.labels(strategy) else ""
        table.add_row(*(Text(cell) for cell in [*_cells(row), marks]), style=style)
    return table


def _cells(row: Mapping[str, Any]) -> list[str]:
    cost = row.get("train_seconds")
    return [
        row["strategy"],
        row["best"] or "-",
        format_mean_std(row, "final_average"),
        format_number(row.get("worst_ordering")),
        format_number(row.get("forgetting")),
        format_number(row.get("learning_average")),
        "-" if cost is None else f"{cost:.0f}",
        f"{row['finished']}/{row['stopped']}/{row['failed']}",
    ]


def _front(verdict: Outcome) -> list[str]:
    aims = ", ".join(f"{metric} {mode}" for metric, mode in verdict.objectives)
    if not verdict.front:
        return [f"Pareto front ({aims}): empty"]
    lines = [f"Pareto front ({aims}) over finished trials:"]
    for name in verdict.front:
        row = verdict.trials[name]
        scores = "  ".join(
            f"{metric} {format_number(row[metric])}" for metric, _ in verdict.objectives
        )
        knobs = format_knobs(verdict.varied_knobs(name))
        lines.append(f"  {name}  {row['strategy']}  {scores}  {knobs}".rstrip())
    return lines


def _costs(verdict: Outcome) -> list[str]:
    trained, shared = verdict.total("stages_trained"), verdict.total("stages_shared")
    spent, saved = (
        format_duration(verdict.worker_seconds(n)) for n in ("seconds_trained", "seconds_shared")
    )
    return [
        f"Stages: {trained:.0f} trained in {spent} of workers' time, {shared:.0f} taken from the store, "
        f"which saved {saved}."
    ]


def unfinished(verdict: Outcome) -> list[str]:
    """Trials that are under way, or were when their search ended."""
    names = sorted(name for name, row in verdict.trials.items() if row["state"] == "running")
    if not names:
        return []
    return [
        f"Unfinished: {', '.join(names)}; unless the search is still running, "
        "python search/run.py --resume goes on with them"
    ]


def _skipped(verdict: Outcome) -> list[str]:
    return [f"Left out: trials/{file}: {reason}" for file, reason in verdict.run.skipped.items()]


def _next(verdict: Outcome) -> list[str]:
    folder = shown(verdict.run.folder)
    lines = [f"Tables: {folder / 'tables'}   Report: {folder / 'report.html'}"]
    return [*lines, f"Export the best configuration: {export_command(folder)}"][
        : 1 + bool(verdict.best_trial)
    ]


def shown(folder: Path) -> Path:
    """The folder as one would type it here."""
    absolute, here = folder.resolve(), Path.cwd()
    return absolute.relative_to(here) if absolute.is_relative_to(here) else absolute


def export_command(folder: Path) -> str:
    """What exports the best trial of a search."""
    return f"python search/export.py {shlex.quote(str(folder))}"
