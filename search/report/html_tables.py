"""The report's tables: strategies, the front, tasks, the best trial, all trials, and the metrics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from search.report import page, plots
from search.report.terminal import export_command, shown
from search.results.formatting import format_knobs, format_mean_std, format_metric
from search.results.outcome import Outcome
from search.results.pareto import is_reference
from tasks import EXTRA_SCORES, METRICS, scale_note
from trainables.metrics.glossary import GLOSSARY
from trainables.metrics.score_matrix import ScoreMatrix


def strategies(verdict: Outcome) -> str:
    head = ["strategy", "", "best trial", "final average", "worst ordering", "forgetting"]
    # Older records, and searches without initial tasks, do not have all of these.
    held = ("initial_forgetting", "stored_bytes", "added_parameters")
    extra = [n for n in held if any(r.get(n) is not None for r in verdict.strategies.values())]
    head += ["learning average", *map(format_metric, extra), "training seconds"]
    head += ["finished", "stopped", "failed"]
    rows = [
        [
            name,
            ", ".join(verdict.labels(name)),
            row["best"] or "-",
            format_mean_std(row, "final_average"),
            row.get("worst_ordering"),
            row.get("forgetting"),
            row.get("learning_average"),
            *(row.get(name) for name in extra),
            row.get("train_seconds"),
            *(row[state] for state in ("finished", "stopped", "failed")),
        ]
        for name, row in verdict.strategies.items()
    ]
    winner = verdict.winner["strategy"] if verdict.winner else ""
    return page.table(head, rows, strong=winner)


def front(verdict: Outcome) -> str:
    if not verdict.front:
        return page.paragraph("The front is empty: no trial that may be on it has finished.")
    metrics = [metric for metric, _ in verdict.objectives]
    rows = [
        [
            name,
            verdict.trials[name]["strategy"],
            *(verdict.trials[name][metric] for metric in metrics),
            format_knobs(verdict.varied_knobs(name)),
        ]
        for name in verdict.front
    ]
    return page.table(
        ["trial", "strategy", *map(format_metric, metrics), "knobs"],
        rows,
        strong=verdict.best_trial or "",
    )


def tasks(verdict: Outcome) -> str:
    if verdict.best_trial is None:
        return page.paragraph("No trial can be chosen.")
    metrics = verdict.run.metrics
    note = scale_note({task: name for task, name in metrics.items() if name in METRICS})
    noted = page.paragraph(f"{note[0].upper()}{note[1:]}.", "note") if note else ""
    return page.plot(plots.by_task(verdict), "tasks") + noted + _task_table(verdict)


def _task_table(verdict: Outcome) -> str:
    """Each task at the end: its score, and what tells forgetting of form from that of matter."""
    assert verdict.best_trial is not None
    trial, rows = verdict.run.trial(verdict.best_trial), []
    for task in sorted({task for matrix in trial.matrices for task in matrix.tasks}):
        metric = METRICS.get(verdict.run.metrics.get(task, ""))
        held = [_final(trial.beside.get(name, ()), task) for name in EXTRA_SCORES]
        rows.append(
            [
                task,
                metric.name if metric else "-",
                "{:g} to {:g}".format(*metric.range) if metric else "-",
                _final(trial.matrices, task),
                *("-" if value is None else value for value in held),
            ]
        )
    head = ["task", "metric", "range", "score at the end", *map(format_metric, EXTRA_SCORES)]
    return page.table(head, rows)


def _final(matrices: Sequence[ScoreMatrix], task: str) -> float | None:
    """The mean over the orderings of a task's last value; None where it has none."""
    values = [m.row(m.stages)[task] for m in matrices if task in m.tasks]
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else None


def best(verdict: Outcome) -> str:
    if verdict.best_trial is None:
        return page.paragraph("No trial can be chosen.")
    trial = verdict.run.trial(verdict.best_trial)
    command = export_command(shown(verdict.run.folder))
    text = f"Trial {trial.name}, strategy {trial.strategy}. To export it for the final training:"
    return page.paragraph(text) + f"<pre>{escape(command)}</pre>" + page.pairs(trial.knobs())


def trials(verdict: Outcome) -> str:
    metrics = ["final_average", "worst_ordering", "forgetting", "learning_average"]
    metrics += [m for m, _ in verdict.objectives if m not in metrics]
    rows = [
        [
            name,
            row["strategy"],
            row["state"],
            row["stages_done"],
            *(row.get(metric) for metric in metrics),
            row["seconds_trained"],
            _standing(verdict, name),
            format_knobs(verdict.varied_knobs(name)),
        ]
        for name, row in verdict.trials.items()
    ]
    head = ["trial", "strategy", "state", "stages", *map(format_metric, metrics)]
    return page.table(
        [*head, "seconds trained", "on front", "knobs"], rows, True, verdict.best_trial or ""
    )


def _standing(verdict: Outcome, name: str) -> str:
    """Whether a trial is on the front; of a finished one, why it could not be."""
    if verdict.trials[name]["state"] != "finished":
        return ""
    if is_reference(verdict.trials[name]["strategy"]):
        return "reference"
    return verdict.excluded.get(name, "yes" if name in verdict.front else "no")


def failures(verdict: Outcome) -> str:
    rows = [
        [name, row["strategy"], row["state"], row["message"] or verdict.excluded.get(name)]
        for name, row in verdict.trials.items()
        if row["state"] in ("diverged", "failed")
    ]
    rows += [[file, "", "skipped", reason] for file, reason in verdict.run.skipped.items()]
    if not rows:
        return page.paragraph("None: no trial failed or diverged, and every record could be read.")
    return page.table(["trial", "strategy", "state", "message"], rows)


def glossary(verdict: Outcome) -> str:
    rows = [
        [
            format_metric(name),
            entry.formula,
            "more" if entry.higher_is_better else "less",
            entry.also_called,
        ]
        for name, entry in GLOSSARY.items()
    ]
    scored = {METRICS[name] for name in verdict.run.metrics.values() if name in METRICS}
    ranges = [
        [metric.name, metric.description, "{:g} to {:g}".format(*metric.range)]
        for metric in sorted(scored, key=lambda metric: metric.name)
    ]
    table = page.table(["metric", "formula", "better", "also called"], rows)
    if not ranges:
        return table
    return table + page.table(["metric of answers", "what it says", "range"], ranges)
