"""Score stored answers anew, by other metrics or another benchmark file, without model or GPU.

    python -m tasks.rescore results/NAME --metric captions=cider --metric signs=anls
    python -m tasks.rescore results/NAME --benchmark tasks.yaml

The folder is one of a search or of search/train.py; it holds `tables/predictions.arrow`. Prints the old
and the new score of every cell, and writes `rescored.json` into the folder.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa

from spaces.command_line import Parser, path_flag, text_flag
from spaces.errors import InputError, first_line, unknown
from spaces.files import write_atomically
from tasks.data.benchmark import Benchmark, load_benchmark, read_benchmark_file
from tasks.data.benchmark_file import TaskEntry
from tasks.scoring.answers import ANSWER_METRICS
from tasks.scoring.split_scores import answered_from_rows, score_split

PRESET_FILES = {path.stem: path for path in (Path(__file__).parent / "presets").glob("*.yaml")}
PREDICTIONS_FILE = Path("tables") / "predictions.arrow"
CELL_COLUMNS = ("trial", "tasks", "ordering", "stage", "task", "split")
"""Columns that name a cell of a score matrix."""
ANSWER_COLUMNS = ("id", "prompt", "prediction", "answers")
"""Columns that scores are computed from."""


@dataclass(frozen=True)
class NewMetrics:
    """Metric and answer format by which each task is scored anew."""

    metrics: Mapping[str, str]
    """Metrics given with --metric, by task."""
    benchmark: Benchmark | None = None
    raw_tasks: Mapping[str, TaskEntry] = field(default_factory=dict)
    """Tasks as a YAML file of raw data describes them; their data need not be converted."""

    def of(self, task: str, old_metric: str) -> dict[str, Any]:
        """Return the arguments of `tasks.score_split` for a task."""
        if task in self.raw_tasks:
            raw = self.raw_tasks[task]
            metric = self.metrics.get(task, raw.metric)
            return {"metric": metric, "answer_format": raw.answer_format}
        known = self.benchmark.tasks.get(task) if self.benchmark else None
        if known is None:
            return {"metric": self.metrics.get(task, old_metric)}
        return {
            "metric": self.metrics.get(task, known.metric),
            "answer_format": known.answer_format or ("closed" if known.closed else ""),
            "answer_set": known.answer_set(),
        }


def main(argv: Sequence[str] | None = None) -> int:
    """Score stored answers anew, without model or GPU, and print each cell's old and new score."""
    p = Parser(prog="python -m tasks.rescore", description=main.__doc__)
    p.add_argument("run", type=path_flag, help="folder of a search or of search/train.py")
    p.add_argument(
        "--metric",
        action="append",
        default=[],
        metavar="TASK=METRIC",
        help="new metric of one task",
    )
    p.add_argument(
        "--benchmark", type=text_flag, help="benchmark whose metrics and formats are used"
    )
    args = p.parse_args(argv)
    try:
        return run(args.run, args.metric, args.benchmark)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def run(folder: Path, metrics: Sequence[str], benchmark: str | None) -> int:
    """Score a folder's answers anew, print the changes and write `rescored.json`."""
    table = read_predictions(folder)
    new_metrics = _new_metrics(_parse_metrics(metrics), benchmark)
    tasks = set(table.column("task").unique().to_pylist())
    for task in new_metrics.metrics:
        if task not in tasks:
            raise unknown("task", task, tasks)
    cells = list(rescore_cells(table, new_metrics))
    for line in _lines(cells):
        print(line)
    path = folder / "rescored.json"
    try:
        write_atomically(path, json.dumps({"cells": cells}, indent=1))
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error
    print(f"written: {path}")
    return 0


def _new_metrics(metrics: Mapping[str, str], benchmark: str | None) -> NewMetrics:
    """Add a benchmark's metrics, and its answer sets if its data is here and needs no conversion."""
    if benchmark is None:
        return NewMetrics(metrics)
    name = str(PRESET_FILES.get(benchmark, benchmark))
    _, content = read_benchmark_file(name)
    try:
        return NewMetrics(metrics, load_benchmark(name))
    except InputError:  # raw data, or data that is not on this machine
        return NewMetrics(metrics, raw_tasks=content.tasks)


def read_predictions(folder: Path) -> pa.Table:
    """Read the table of stored answers; raises `InputError` if it is missing or damaged."""
    path = folder / PREDICTIONS_FILE
    if not path.is_file():
        raise InputError(
            f'the folder must hold {PREDICTIONS_FILE}, and "{folder}" does not: give the folder of a '
            "search; if the search was interrupted, run search/analyze.py on it first"
        )
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"cannot read {path}: {first_line(error)}") from error
    wanted = (*CELL_COLUMNS, *ANSWER_COLUMNS, "metric", "task_score")
    if missing := [name for name in wanted if name not in table.column_names]:
        raise InputError(f"{path} must hold the columns {', '.join(missing)}; it does not")
    for name, (has_type, title) in TYPES.items():
        column = table.column(name)
        if not has_type(column.type) or column.null_count:
            raise InputError(
                f'column "{name}" of {path} must be {title} without gaps, got {column.type} with '
                f"{column.null_count} gaps: run search/analyze.py again"
            )
    return table


def _is_text(data_type: pa.DataType) -> bool:
    return pa.types.is_string(data_type) or pa.types.is_large_string(data_type)


def _is_text_list(data_type: pa.DataType) -> bool:
    return pa.types.is_list(data_type) and _is_text(data_type.value_type)


TYPES: dict[str, tuple[Callable[[pa.DataType], bool], str]] = {
    **{name: (_is_text, "text") for name in ("task", "split", "id", "prediction", "metric")},
    "answers": (_is_text_list, "lists of texts"),
    "task_score": (pa.types.is_floating, "numbers"),
}
"""Test and title of the type of each column that scores are computed from."""


def _parse_metrics(metrics: Sequence[str]) -> dict[str, str]:
    parsed = {}
    for text in metrics:
        task, equals, metric = text.partition("=")
        if not (task and equals):
            raise InputError(f'--metric must be TASK=METRIC, got "{text}"')
        if metric not in ANSWER_METRICS:
            raise unknown("metric", metric, ANSWER_METRICS)
        parsed[task] = metric
    return parsed


def rescore_cells(table: pa.Table, new_metrics: NewMetrics) -> Iterator[dict[str, Any]]:
    """Yield each cell with its old metric and score and its new ones."""
    arguments: dict[str, dict[str, Any]] = {}
    for rows in _rows_by_cell(table):
        first = rows[0]
        task = first["task"]
        if task not in arguments:  # the answer set of a task is read once
            arguments[task] = new_metrics.of(task, first["metric"])
        scores = score_split(answered=answered_from_rows(rows), **arguments[task])
        yield {
            **{name: first[name] for name in CELL_COLUMNS},
            "metric_before": first["metric"],
            "score_before": first["task_score"],
            "metric": arguments[task]["metric"],
            **scores.values(),
        }


def _rows_by_cell(table: pa.Table) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of each cell; they are neighbours in the table."""
    rows = (row for batch in table.to_batches() for row in batch.to_pylist())
    for _, cell in groupby(rows, key=lambda row: tuple(row[name] for name in CELL_COLUMNS)):
        yield list(cell)


def _lines(cells: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the lines of the printed table: old and new score of each cell."""
    head = ["trial", "ordering", "stage", "task", "split", "before", "", "now", "", "change"]
    rows = [head]
    for cell in cells:
        change = cell["score"] - cell["score_before"]
        rows.append(
            [
                *(str(cell[name]) for name in ("trial", "ordering", "stage", "task", "split")),
                *(cell["metric_before"], f"{cell['score_before']:.4f}"),
                *(cell["metric"], f"{cell['score']:.4f}"),
                "=" if math.isclose(change, 0, abs_tol=1e-12) else f"{change:+.4f}",
            ]
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    for row in rows:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()


if __name__ == "__main__":
    sys.exit(main())
