"""Tasks: their data, their orderings, and the metrics of their answers."""

from __future__ import annotations

from tasks.answers import METRICS, Metric, format_compliance, score_answers
from tasks.benchmark import EMBEDDED, Benchmark, load_benchmark
from tasks.ordering import TaskOrdering, parse_orderings, prefix_nodes, stage_counts
from tasks.row_report import BrokenRow, Demands, RowReport, check_rows
from tasks.rows import IMAGE, Example
from tasks.task import SPLITS, Task

__all__ = [
    "EMBEDDED",
    "IMAGE",
    "METRICS",
    "SPLITS",
    "Benchmark",
    "BrokenRow",
    "Demands",
    "Example",
    "Metric",
    "RowReport",
    "Task",
    "TaskOrdering",
    "check_rows",
    "format_compliance",
    "load_benchmark",
    "parse_orderings",
    "prefix_nodes",
    "score_answers",
    "stage_counts",
]
