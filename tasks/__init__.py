"""Tasks: their data, their orderings, and the metrics of their answers."""

from __future__ import annotations

from tasks.data.benchmark import EMBEDDED, Benchmark, load_benchmark
from tasks.data.ordering import TaskOrdering, parse_orderings
from tasks.data.row_report import BrokenRow, RowReport, RowRequirements, check_rows
from tasks.data.rows import IMAGE, Example
from tasks.data.task import SPLITS, Task
from tasks.scoring.answer_formats import ANSWER_FORMATS, check_format, constrain
from tasks.scoring.answers import ANSWER_METRICS, Metric, apply_metric, scale_note, score_answers
from tasks.scoring.metrics.metric import AnsweredQuestion, Scores
from tasks.scoring.split_scores import EXTRA_SCORES, SplitScores, score_split

__all__ = [
    "ANSWER_FORMATS",
    "ANSWER_METRICS",
    "EMBEDDED",
    "EXTRA_SCORES",
    "IMAGE",
    "SPLITS",
    "AnsweredQuestion",
    "Benchmark",
    "BrokenRow",
    "Example",
    "Metric",
    "RowReport",
    "RowRequirements",
    "Scores",
    "SplitScores",
    "Task",
    "TaskOrdering",
    "apply_metric",
    "check_format",
    "check_rows",
    "constrain",
    "load_benchmark",
    "parse_orderings",
    "scale_note",
    "score_answers",
    "score_split",
]
