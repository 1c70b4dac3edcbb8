"""Tasks: their data, their orderings, and the metrics of their answers."""

from __future__ import annotations

from tasks.answer_formats import FORMATS, check_format, constrained, format_compliance
from tasks.answers import METRICS, Metric, answer_scores, scale_note, score_answers
from tasks.benchmark import EMBEDDED, Benchmark, load_benchmark
from tasks.marks import BESIDE, Marks, marked
from tasks.metrics.metric import Answered, Scores
from tasks.ordering import TaskOrdering, parse_orderings, prefix_nodes, stage_counts
from tasks.row_report import BrokenRow, Demands, RowReport, check_rows
from tasks.rows import IMAGE, Example
from tasks.task import SPLITS, Task

__all__ = [
    "BESIDE",
    "EMBEDDED",
    "FORMATS",
    "IMAGE",
    "METRICS",
    "SPLITS",
    "Answered",
    "Benchmark",
    "BrokenRow",
    "Demands",
    "Example",
    "Marks",
    "Metric",
    "RowReport",
    "Scores",
    "Task",
    "TaskOrdering",
    "answer_scores",
    "check_format",
    "check_rows",
    "constrained",
    "format_compliance",
    "load_benchmark",
    "marked",
    "parse_orderings",
    "prefix_nodes",
    "scale_note",
    "score_answers",
    "stage_counts",
]
