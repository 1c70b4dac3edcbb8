"""Score stored answers anew, by other metrics or another benchmark file, without model or GPU.

    python -m tasks.rescore results/NAME --metric captions=cider --metric signs=anls
    python -m tasks.rescore results/NAME --benchmark tasks.yaml

Reads `tables/predictions.arrow` of a search, or of what search/train.py trained; prints the old and the
new score of every cell, and writes `rescore_cells.json` beside it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa

from spaces.errors import InputError, unknown
from tasks.data.benchmark import Benchmark, load_benchmark, read_benchmark_file
from tasks.scoring.answers import METRICS
from tasks.scoring.split_scores import answered_from_rows, score_split

PRESET_FILES = {path.stem: path for path in (Path(__file__).parent / "presets").glob("*.yaml")}
PREDICTIONS_FILE = Path("tables") / "predictions.arrow"
CELL_COLUMNS = ("trial", "tasks", "ordering", "stage", "task", "split")
"""The columns that name a cell of a score matrix."""
ANSWER_COLUMNS = ("id", "prompt", "prediction", "answers")
"""The columns that scores are made of."""


@dataclass(frozen=True)
class NewMetrics:
    """What each task is to be scored by."""

    metrics: Mapping[str, str]
    benchmark: Benchmark | None = None
    written: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Tasks as a YAML file of raw data has them: their data need not be converted for this."""

    def of(self, task: str, before: str) -> dict[str, Any]:
        """The arguments of `tasks.score_split` for a task that was scored by `before`."""
        known = self.benchmark.tasks.get(task) if self.benchmark else None
        if task in self.written:
            says = self.written[task]
            chosen = self.metrics.get(task, str(says.get("metric", before)))
            return {"metric": chosen, "answer_format": str(says.get("answer_format", ""))}
        if known is None:
            return {"metric": self.metrics.get(task, before)}
        return {
            "metric": self.metrics.get(task, known.metric),
            "answer_format": known.answer_format or ("closed" if known.closed else ""),
            "answer_set": known.answer_set(),
        }


def main(argv: Sequence[str] | None = None) -> int:
    """Score stored answers anew, without model or GPU, and print each cell's old and new score."""
    p = argparse.ArgumentParser(prog="python -m tasks.rescore", description=main.__doc__)
    p.add_argument("run", type=Path, help="a search's folder, or what search/train.py made")
    p.add_argument("--metric", action="append", default=[], metavar="TASK=METRIC")
    p.add_argument("--benchmark", help="a benchmark whose metrics and answer formats to take")
    args = p.parse_args(argv)
    try:
        return run(args.run, args.metric, args.benchmark)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def run(folder: Path, metrics: Sequence[str], benchmark: str | None) -> int:
    """Score a folder's answers anew, print what changes and write it down."""
    table = read_predictions(folder)
    plan = _plan(_parsed(metrics), benchmark)
    tasks = set(table.column("task").unique().to_pylist())
    for task in plan.metrics:
        if task not in tasks:
            raise unknown("task", task, tasks)
    cells = list(rescore_cells(table, plan))
    for line in _lines(cells):
        print(line)
    path = folder / "rescored.json"
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(json.dumps({"cells": cells}, indent=1))
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error
    print(f"written: {path}")
    return 0


def _plan(metrics: Mapping[str, str], name: str | None) -> NewMetrics:
    """The benchmark's metrics, and its answers where its data are there and need no conversion."""
    if name is None:
        return NewMetrics(metrics)
    name = str(PRESET_FILES.get(name, name))
    _, written = read_benchmark_file(name)
    try:
        return NewMetrics(metrics, load_benchmark(name))
    except InputError:  # raw data, or none here
        return NewMetrics(metrics, written=written["tasks"])


def read_predictions(folder: Path) -> pa.Table:
    """The table of a run's answers; raises `InputError` if there is none."""
    path = folder / PREDICTIONS_FILE
    if not path.is_file():
        raise InputError(
            f'a run with stored answers must hold {PREDICTIONS_FILE}, and "{folder}" does not: give '
            "the folder of a search, and run search/analyze.py on it first if it was interrupted"
        )
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"cannot read {path}: {str(error).splitlines()[0]}") from error
    wanted = (*CELL_COLUMNS, *ANSWER_COLUMNS, "metric", "task_score")
    if missing := [name for name in wanted if name not in table.column_names]:
        raise InputError(f"{path} must hold the columns {', '.join(missing)}; it does not")
    for name, (fits, kind) in TYPES.items():
        column = table.column(name)
        if not fits(column.type) or column.null_count:
            raise InputError(
                f'column "{name}" of {path} must be {kind} without gaps, got {column.type} with '
                f"{column.null_count} gaps: run search/analyze.py again"
            )
    return table


def _text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _texts(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) and _text(kind.value_type)


TYPES: dict[str, tuple[Callable[[pa.DataType], bool], str]] = {
    **{name: (_text, "text") for name in ("task", "split", "id", "prediction", "metric")},
    "answers": (_texts, "lists of texts"),
    "task_score": (pa.types.is_floating, "numbers"),
}
"""What the columns that scores are made of hold."""


def _parsed(metrics: Sequence[str]) -> dict[str, str]:
    parsed = {}
    for text in metrics:
        task, equals, metric = text.partition("=")
        if not (task and equals):
            raise InputError(f'--metric must be TASK=METRIC, got "{text}"')
        if metric not in METRICS:
            raise unknown("metric", metric, METRICS)
        parsed[task] = metric
    return parsed


def rescore_cells(table: pa.Table, plan: NewMetrics) -> Iterator[dict[str, Any]]:
    """Each cell with its old metric and score and its new ones."""
    made: dict[str, dict[str, Any]] = {}
    for rows in _cells(table):
        first = rows[0]
        if first["task"] not in made:  # the answer set is read once
            made[first["task"]] = plan.of(first["task"], first["metric"])
        given = made[first["task"]]
        marks = score_split(answered=answered_from_rows(rows), **given)
        yield {
            **{name: first[name] for name in CELL_COLUMNS},
            "metric_before": first["metric"],
            "score_before": first["task_score"],
            "metric": given["metric"],
            **marks.values(),
        }


def _cells(table: pa.Table) -> Iterator[list[dict[str, Any]]]:
    """The rows of each cell, which lie together."""

    def rows() -> Iterator[dict[str, Any]]:
        for batch in table.to_batches():
            yield from batch.to_pylist()

    for _, cell in groupby(rows(), key=lambda row: tuple(row[name] for name in CELL_COLUMNS)):
        yield list(cell)


def _lines(cells: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The table that is printed."""
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
