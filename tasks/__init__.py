"""Tasks: their data, their orderings, and the metrics of their answers."""

from __future__ import annotations

from tasks.data.benchmark import EMBEDDED, Benchmark, load_benchmark
from tasks.data.ordering import TaskOrdering, parse_orderings, prefix_nodes, stage_counts
from tasks.data.rows import IMAGE, Example
from tasks.data.task import SPLITS, Task
from tasks.scoring.answer_formats import FORMATS, check_format, constrained, format_compliance
from tasks.scoring.answers import METRICS, Metric, answer_scores, scale_note, score_answers
from tasks.scoring.marked_answers import BESIDE, MarkedAnswers, marked
from tasks.scoring.metrics.metric import Answered, Scores
from tasks.user_data.row_report import BrokenRow, Demands, RowReport, check_rows

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
    "MarkedAnswers",
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
