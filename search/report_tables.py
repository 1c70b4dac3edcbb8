"""The report's tables: strategies, the front, tasks, the best trial, all trials, and the metrics."""

from __future__ import annotations

from html import escape

from search import page, plots
from search.front import is_reference
from search.screen import export_command, shown
from search.verdict import Verdict, assigned, spread, words
from trainables.scores import GLOSSARY


def strategies(verdict: Verdict) -> str:
    head = ["strategy", "", "best trial", "final average", "worst ordering", "forgetting"]
    head += ["learning average", "training seconds", "finished", "stopped", "failed"]
    rows = [
        [
            name,
            ", ".join(verdict.marks(name)),
            row["best"] or "-",
            spread(row, "final_average"),
            row.get("worst_ordering"),
            row.get("forgetting"),
            row.get("learning_average"),
            row.get("train_seconds"),
            *(row[state] for state in ("finished", "stopped", "failed")),
        ]
        for name, row in verdict.strategies.items()
    ]
    winner = verdict.winner["strategy"] if verdict.winner else ""
    return page.table(head, rows, strong=winner)


def front(verdict: Verdict) -> str:
    if not verdict.front:
        return page.paragraph("The front is empty: no trial that may be on it has finished.")
    metrics = [metric for metric, _ in verdict.objectives]
    rows = [
        [
            name,
            verdict.trials[name]["strategy"],
            *(verdict.trials[name][metric] for metric in metrics),
            assigned(verdict.knobs(name)),
        ]
        for name in verdict.front
    ]
    return page.table(
        ["trial", "strategy", *map(words, metrics), "knobs"], rows, strong=verdict.best or ""
    )


def tasks(verdict: Verdict) -> str:
    if verdict.best is None:
        return page.paragraph("No trial can be chosen.")
    return page.plot(plots.by_task(verdict), "tasks")


def best(verdict: Verdict) -> str:
    if verdict.best is None:
        return page.paragraph("No trial can be chosen.")
    trial = verdict.run.trial(verdict.best)
    command = export_command(shown(verdict.run.folder))
    text = f"Trial {trial.name}, strategy {trial.strategy}. To export it for the final training:"
    return page.paragraph(text) + f"<pre>{escape(command)}</pre>" + page.pairs(trial.knobs())


def trials(verdict: Verdict) -> str:
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
            assigned(verdict.knobs(name)),
        ]
        for name, row in verdict.trials.items()
    ]
    head = ["trial", "strategy", "state", "stages", *map(words, metrics)]
    return page.table(
        [*head, "seconds trained", "on front", "knobs"], rows, True, verdict.best or ""
    )


def _standing(verdict: Verdict, name: str) -> str:
    """Whether a trial is on the front; of a finished one, why it could not be."""
    if verdict.trials[name]["state"] != "finished":
        return ""
    if is_reference(verdict.trials[name]["strategy"]):
        return "reference"
    return verdict.left_out.get(name, "yes" if name in verdict.front else "no")


def failures(verdict: Verdict) -> str:
    rows = [
        [name, row["strategy"], row["state"], row["message"] or verdict.left_out.get(name)]
        for name, row in verdict.trials.items()
        if row["state"] in ("diverged", "failed")
    ]
    rows += [[file, "", "skipped", reason] for file, reason in verdict.run.skipped.items()]
    if not rows:
        return page.paragraph("None: no trial failed or diverged, and every record could be read.")
    return page.table(["trial", "strategy", "state", "message"], rows)


def glossary(verdict: Verdict) -> str:
    rows = [
        [
            words(name),
            entry.formula,
            "more" if entry.higher_is_better else "less",
            entry.also_called,
        ]
        for name, entry in GLOSSARY.items()
    ]
    return page.table(["metric", "formula", "better", "also called"], rows)
