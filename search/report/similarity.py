"""The report's part on task similarity, and on the experts that examples were answered by."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from search.report import page
from search.results.outcome import Outcome
from search.results.run_folder import TrialRecord
from strategies.similarity import combined
from trainables.metrics.glossary import RETRIEVAL
from trainables.metrics.score_matrix import ScoreMatrix

NOBODY = "No finished trial of this search asked how similar tasks are."
ABOUT = (
    "The similarity of the task learned at a stage to each task before it: a product over what they show, "
    "ask and answer, or those of them that the trial's signal names. Each part is the cosine of the tasks' "
    "mean vectors, standardised over all pairs known by then and put through a sigmoid; with a single "
    "pair, the cosine."
)
EXPERTS = (
    "Examples are answered by the expert that is retrieved for them. Oracle: the score if each were "
    "answered by its own task's expert; means over the tasks seen."
)


def similarity(verdict: Outcome) -> str:
    """Similarities by ordering and stage, and the retrieval of experts, where a strategy had them."""
    return (_similarities(verdict) or page.paragraph(NOBODY)) + _experts(verdict)


def _similarities(verdict: Outcome) -> str:
    trial = next((t for t in _best_trials(verdict) if any(map(_told, t.stages))), None)
    if trial is None:
        return ""
    signal = next((str(v) for k, v in trial.knobs().items() if k.endswith("signal")), "")
    blocks = []
    for number, ordering in enumerate(verdict.run.orderings, start=1):
        rows = list(_rows(trial, ordering, signal))
        head = ["stage", "learned", "begins as", "similarity to tasks before, the nearest first"]
        blocks.append(f"<h3>ordering {number}</h3>" + page.table(head, rows))
    of = f" Of trial {trial.name}, {trial.strategy}."
    return page.paragraph(ABOUT + of, "note") + "".join(blocks)


def _rows(
    trial: TrialRecord, ordering: Sequence[str], signal: str
) -> Iterator[tuple[int, str, str, str]]:
    for stage in trial.stages:
        path = [tuple(group) for group in stage["tasks"]]
        if path != [(task,) for task in ordering[: len(path)]] or not _told(stage):
            continue
        known: Mapping[str, Mapping[str, float]] = stage["similarity"]
        old = list(next(iter(known.values())))
        values = {name: [of[task] for task in old] for name, of in known.items()}
        product = combined(values, signal) if signal else [math.nan] * len(old)
        order = sorted(range(len(old)), key=lambda i: -product[i])
        told = ", ".join(f"{old[i]} {product[i]:.3f} ({_parts(known, old[i])})" for i in order)
        yield len(path), ordering[len(path) - 1], _begin(trial, stage), told


def _parts(known: Mapping[str, Mapping[str, float]], task: str) -> str:
    return ", ".join(f"{name} {of[task]:.2f}" for name, of in known.items())


def _begin(trial: TrialRecord, stage: Mapping[str, Any]) -> str:
    """Whose weights a stage begins with, and whether it replaces them."""
    if not _routed(trial):
        return "the stage before"
    begin = stage["begin"]
    if not begin["task"]:
        return "the model before any stage, as a new expert"
    return f"{begin['task']}, {'as a new expert' if begin['expert'] else 'trained further'}"


def _routed(trial: TrialRecord) -> bool:
    """Whether examples were answered by one of several experts."""
    return all(trial.beside.get(name) for name in RETRIEVAL)


def _told(stage: Mapping[str, Any]) -> bool:
    return any(of for of in (stage.get("similarity") or {}).values())


def _experts(verdict: Outcome) -> str:
    blocks = []
    for trial in _best_trials(verdict):
        if not _routed(trial):
            continue
        accuracy, oracle = (trial.beside.get(name, ()) for name in RETRIEVAL)
        each = zip(trial.matrices, accuracy, oracle, strict=True)
        rows = [
            [" > ".join(m.tasks), stage, *(_seen(which, stage) for which in (a, m, o))]
            for m, a, o in each
            for stage in range(1, m.stages + 1)
        ]
        head = ["ordering", "stage", "retrieval accuracy", "score", "score with oracle"]
        title = f"<h3>Experts of {escape(trial.strategy)}, trial {escape(trial.name)}</h3>"
        blocks.append(title + page.paragraph(EXPERTS, "note") + page.table(head, rows))
    return "".join(blocks)


def _seen(matrix: ScoreMatrix, stage: int) -> float | None:
    """The mean over the tasks learned by a stage."""
    values = matrix.values[stage, :stage]
    return None if math.isnan(values.sum()) else float(values.mean())


def _best_trials(verdict: Outcome) -> list[TrialRecord]:
    names = [row["best"] for row in verdict.strategies.values() if row["best"]]
    return [verdict.run.trial(name) for name in names]
