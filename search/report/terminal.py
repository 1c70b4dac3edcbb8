"""The outcome of a search on the terminal: strategies, Pareto front, cost and next steps."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from search.confirmation.answer import (
    confirmation_spent,
    confirmed_lines,
    confirmed_on,
    recommended,
    units_that_tell_more,
)
from search.results.cautions import cautions, general_loss, little_learned, validation_sizes
from search.results.formatting import (
    format_duration,
    format_knobs,
    format_mean_std,
    format_metric,
    format_number,
)
from search.results.front_marks import front_marks
from search.results.outcome import Outcome, read_outcome
from search.results.panel_notes import panel_note
from trainables.metrics.glossary import GENERAL_KL, OF_GENERAL

WIDTH = 100
"""Columns of a log; a terminal has its own."""

COLUMNS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "final average": lambda row: format_mean_std(row, "final_average"),
    "worst": lambda row: format_number(row.get("worst_ordering")),
    "forgetting": lambda row: format_number(row.get("forgetting")),
    "learning": lambda row: format_number(row.get("learning_average")),
    "train s": lambda row: (
        "-" if row.get("train_seconds") is None else f"{row['train_seconds']:.0f}"
    ),
    "trials*": lambda row: f"{row['finished']}/{row['stopped']}/{row['failed']}",
}
"""Numbers of a strategy: a cell's text from the strategy's row, by heading."""

GENERAL_COLUMNS = (*OF_GENERAL, GENERAL_KL)
"""Numbers of a strategy on general tasks, in a table of their own: the first one is as wide as a log."""

LEGEND = (
    "Best trial of each strategy, by these figures: they are optimistic; mean ± deviation over orderings.\n"
    "* finished/stopped/failed. "
    "front (n): n trials of the strategy are on the Pareto front."
)


def show_results(folder: Path, console: Console | None = None) -> None:
    """Print the outcome of a search; raise `InputError` for a folder that holds none."""
    console = console or _console()
    outcome = read_outcome(folder)
    console.print()
    console.print(_strategy_table(outcome))
    legend = "\n".join([LEGEND, *panel_note(outcome)])
    console.print(Text(legend, style="dim"), soft_wrap=True)
    if tasks := outcome.run.plan.panel.general:
        console.print(_general_table(outcome))
        console.print(Text(f"On {', '.join(tasks)}, which nothing trains.", style="dim"))
    console.print(Text(f"\n{outcome.summary()}\n"))
    notes = [*_cost(outcome), *unfinished(outcome), *_skipped(outcome), *_next_steps(outcome)]
    for line in [*_front(outcome), "", *_answer(outcome), *notes]:
        # One line stays one line in a log: a command broken in two cannot be pasted.
        console.print(Text(line), soft_wrap=True)


def _answer(outcome: Outcome) -> list[str]:
    """Return the verdict of the confirmation, or else how to get one, and what to know of the best."""
    lines = [f"Protocol: {outcome.run.plan.protocol}."]
    chosen = recommended(outcome.run.folder)
    lines += [f"Note: {line}." for line in cautions(outcome, validation_sizes(outcome), chosen)]
    folder = shlex.quote(str(_from_here(outcome.run.folder)))
    if confirmed := confirmed_lines(outcome.run.folder):
        lines += ["", f"Confirmed on {confirmed_on(outcome.run.folder)}:", *confirmed]
        if more := units_that_tell_more(outcome.run.folder):
            lines.append(f"To tell more: python search/confirm.py {folder} --units {more}")
        return [*lines, ""]
    if outcome.best_trial:
        lines.append(f"How sure it is: python search/confirm.py {folder}")
    return [*lines, ""]


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDTH)


def _general_table(outcome: Outcome) -> Table:
    table = _empty_table()
    table.add_column("general ability", overflow="fold")
    for name in GENERAL_COLUMNS:
        table.add_column(format_metric(name), justify="right", no_wrap=True)
    for strategy, row in outcome.strategies.items():
        table.add_row(strategy, *(format_number(row.get(name)) for name in GENERAL_COLUMNS))
    return table


def _empty_table() -> Table:
    return Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)


def _strategy_table(outcome: Outcome) -> Table:
    table = _empty_table()
    table.add_column("strategy", overflow="fold")
    table.add_column("trial", no_wrap=True)
    for name in COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for strategy, row in outcome.strategies.items():
        labels = outcome.labels(strategy)
        style = "bold green" if "best" in labels else ""
        numbers = (cell(row) for cell in COLUMNS.values())
        cells = [row["strategy"], row["best"] or "-", *numbers, ", ".join(labels)]
        table.add_row(*map(Text, cells), style=style)
    if (before := outcome.untrained) is not None:
        dashes = ["-"] * (len(COLUMNS) - 1)
        table.add_row("untrained", "", format_number(before), *dashes, "the model itself")
    return table


def _front(outcome: Outcome) -> list[str]:
    objectives = ", ".join(f"{metric} {mode}" for metric, mode in outcome.objectives)
    if not outcome.front:
        return [f"Pareto front ({objectives}): empty"]
    lines = [f"Pareto front ({objectives}) over finished trials, by figures that chose them:"]
    marks = front_marks(outcome)
    for name in outcome.front:
        row = outcome.trials[name]
        scores = "  ".join(
            f"{metric} {format_number(row[metric])}" for metric, _ in outcome.objectives
        )
        knobs = format_knobs(outcome.varied_knobs(name))
        line = f"  {name}  {row['strategy']}  {scores}  {knobs}".rstrip()
        lines.append(f"{line}  ({marks[name]})" if name in marks else line)
    return lines


def chosen_lines(outcome: Outcome, name: str) -> list[str]:
    """Return what an export chose, in which respect it is not the best, and what else is on the front."""
    row = outcome.trials[name]
    scores = ", ".join(f"{m} {format_number(row[m])}" for m, _ in outcome.objectives)
    lines = [f"chosen      {name} ({row['strategy']}): {scores} (optimistic: it chose)"]
    notes = [line for line in little_learned(outcome) if line.startswith(name)]
    lines += [f"note        {line}" for line in [*notes, *general_loss(outcome, name)]]
    others = [other for other in outcome.front if other != name]
    if others:
        rows = [outcome.trials[other] for other in others]
        metric = outcome.objectives[0][0]
        shown = ", ".join(f"{r['name']} ({r['strategy']}) {format_number(r[metric])}" for r in rows)
        lines.append(f"also there  on the front, by {metric}: {shown}")
    return lines


def _cost(outcome: Outcome) -> list[str]:
    trained, shared = outcome.total("stages_trained"), outcome.total("stages_shared")
    spent, saved = (
        format_duration(outcome.worker_seconds(n)) for n in ("seconds_trained", "seconds_shared")
    )
    lines = [
        f"Stages: {trained:.0f} trained in {spent} of workers' time, {shared:.0f} taken from the store, "
        f"which saved {saved}."
    ]
    if (confirming := confirmation_spent(outcome.run.folder)) is not None:
        seconds = confirming.seconds * outcome.run.plan.plan.workers_per_trial
        lines.append(
            f"Confirmation: {confirming.trained} trained in {format_duration(seconds)}, "
            f"{confirming.shared} taken from the store."
        )
    return lines


def unfinished(outcome: Outcome) -> list[str]:
    """Return a line that names the trials without an end, if there are any."""
    names = sorted(name for name, row in outcome.trials.items() if row["state"] == "running")
    if not names:
        return []
    return [
        f"Unfinished: {', '.join(names)}; unless the search is still running, "
        "python search/run.py --resume goes on with them"
    ]


def _skipped(outcome: Outcome) -> list[str]:
    return [f"Left out: trials/{file}: {reason}" for file, reason in outcome.run.skipped.items()]


def _next_steps(outcome: Outcome) -> list[str]:
    folder = _from_here(outcome.run.folder)
    lines = [f"Tables: {folder / 'tables'}   Report: {folder / 'report.html'}"]
    if outcome.best_trial:
        lines.append(f"Export the best configuration: {export_command(folder)}")
    return lines


def export_command(folder: Path) -> str:
    """Return the command that exports the best trial of a search."""
    return f"python search/export.py {shlex.quote(str(_from_here(folder)))}"


def _from_here(folder: Path) -> Path:
    """Return the folder relative to the working directory, if it lies below it."""
    absolute, here = folder.resolve(), Path.cwd()
    return absolute.relative_to(here) if absolute.is_relative_to(here) else absolute
