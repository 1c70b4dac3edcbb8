"""A search as one self-contained page, `report.html`, that needs no network."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from datetime import datetime
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from plotly.offline import get_plotlyjs

from search.report import html_tables as report_tables
from search.report import page, plots
from search.report import similarity as report_similarity
from search.results.formatting import format_duration, format_metric, format_number
from search.results.outcome import Outcome, read_outcome
from search.results.run_folder import TrialRecord
from trainables.metrics.score_matrix import ScoreMatrix

TEMPLATE = Path(__file__).parent / "report_template.html"


def write_report(folder: Path) -> Path:
    """Write `report.html` into a search's folder; raises `InputError` if it is none."""
    verdict = read_outcome(folder)
    parts = {name: part(verdict) for name, part in PARTS.items()}
    html = Template(TEMPLATE.read_text()).substitute(parts, plotly=get_plotlyjs())
    target = folder / "report.html"
    temporary = folder / f".report.html.{os.getpid()}"
    temporary.write_text(html)
    os.replace(temporary, target)
    return target


# Parts -------------------------------------------------------------------------------------------


def _title(verdict: Outcome) -> str:
    return escape(verdict.run.name)


def _meta(verdict: Outcome) -> str:
    plan = verdict.run.plan
    start, took = _times(verdict)
    facts = {
        "plan": _label(plan.get("plan")),
        "model": _label(plan.get("model")),
        "benchmark": _label(plan.get("benchmark")),
        "date": f"{start:%Y-%m-%d %H:%M}",
        "duration": format_duration(took),
    }
    shown_facts = {name: fact for name, fact in facts.items() if fact}
    return " ".join(
        f"<span>{name} <b>{escape(str(fact))}</b></span>" for name, fact in shown_facts.items()
    )


def _times(verdict: Outcome) -> tuple[datetime, float]:
    """When the search began and how long it took: as the plan says, else by the files' times."""
    plan, folder = verdict.run.plan, verdict.run.folder
    files = [folder / "plan.json", *(folder / "trials").glob("*.json")]
    stamps = [file.stat().st_mtime for file in files]
    try:
        start = datetime.fromisoformat(str(plan["started"]))
    except (KeyError, ValueError):
        start = datetime.fromtimestamp(stamps[0])
    took = plan.get("seconds")
    return start, float(took) if isinstance(took, int | float) else max(stamps) - stamps[0]


def _label(value: Any) -> str:
    if isinstance(value, Mapping):
        value = value.get("name") or value.get("plan") or ""
    return Path(str(value)).name if value else ""


def _summary(verdict: Outcome) -> str:
    split = (verdict.run.plan.get("panel") or {}).get("split", "validation")
    note = (
        f"Chosen and measured on the same orderings and the {split} split, so the figures of the "
        "best configuration lean to the good side; its test scores come from training it anew."
    )
    return page.paragraph(verdict.summary(), "lead") + page.paragraph(note, "note")


def _pareto(verdict: Outcome) -> str:
    hidden = plots.unplotted(verdict)
    note = (
        "The line joins the trials that no other beats in every objective. Hollow, faint "
        "points are unfinished trials: the mean of the orderings they did walk, not comparable and "
        "never on the front."
    )
    if hidden:
        note += f" Unfinished trials that walked no whole ordering are not drawn: {hidden}."
    return page.plot(plots.pareto(verdict), "pareto") + page.paragraph(note, "note")


def _matrices(verdict: Outcome) -> str:
    chosen = {s: row["best"] for s, row in verdict.strategies.items() if row["best"]}
    trials = {s: verdict.run.trial(name) for s, name in chosen.items()}
    top = _top(s for t in trials.values() for m in t.matrices for s in m.values.ravel().tolist())
    blocks = [page.scale(top)] if trials else []
    for strategy, trial in trials.items():
        maps = "".join(page.heat_map(m, top, caption) for caption, m in _captions(trial).items())
        head = f"{escape(strategy)} <small>trial {escape(trial.name)}</small>"
        blocks.append(
            f'<section class="keep"><h3>{head}</h3><div class="maps">{maps}</div></section>'
        )
    return "".join(blocks) or page.paragraph("No trial has finished.")


def _captions(trial: TrialRecord) -> dict[str, ScoreMatrix]:
    """The matrices to show: one will do where all tasks are learned at once."""
    finals = [format_number(_final(matrix)) for matrix in trial.matrices]
    if len(set(finals)) == 1 and all(page.at_once(matrix) for matrix in trial.matrices):
        return {f"any ordering: final average {finals[0]}": trial.matrices[0]}
    return {
        f"ordering {i}: final average {final}": matrix
        for i, (final, matrix) in enumerate(zip(finals, trial.matrices, strict=True), start=1)
    }


def _final(matrix: ScoreMatrix) -> float | None:
    value = matrix.final_average()
    return None if math.isnan(value) else value


def _top(scores: Any) -> float:
    """The end of the shared colour scale: 1, unless a task's metric goes beyond."""
    return max([1.0, *(score for score in scores if not math.isnan(score))])


def _orderings(verdict: Outcome) -> str:
    lines = [" → ".join(ordering) for ordering in verdict.run.orderings]
    listed = "".join(f"<li>{escape(line)}</li>" for line in lines)
    if not any(row["best"] for row in verdict.strategies.values()):
        return f"<ol>{listed}</ol>"
    return page.plot(plots.orderings(verdict), "orderings") + f"<ol>{listed}</ol>"


def _cost(verdict: Outcome) -> str:
    plan = verdict.run.plan

    def spent(name: str, less: float = 0.0) -> str:
        return format_duration(max(0.0, verdict.worker_seconds(name) - less))

    facts = {
        "stages trained": f"{verdict.total('stages_trained'):.0f}",
        "stages taken from the store": f"{verdict.total('stages_shared'):.0f}",
        "worker time training": spent("seconds_trained"),
        "saved by stages in the store": spent("seconds_shared"),
        "saved by common prefixes of orderings": spent("seconds_prefixes"),
        "saved by keeping what the frozen tower saw": spent(
            "seconds_unlooked", less=verdict.run.precompute_seconds
        ),
        "saved by stopping weak trials, about": spent("seconds_spared"),
        "worker time scoring and consolidating": spent("seconds_scored"),
        "worker time waiting for a stage of another trial": spent("seconds_waited"),
        "stages configured": plan.get("stages_configured"),
        "stages distinct": plan.get("stages_distinct"),
    }
    return page.pairs({name: fact for name, fact in facts.items() if fact is not None})


def _setting(verdict: Outcome) -> str:
    saved = dict(verdict.run.plan)
    panel, plan = saved.pop("panel", None) or {}, saved.pop("plan", None)
    fields = plan if isinstance(plan, Mapping) else {"plan": plan}
    # The panel and what lies around the plan say what the plan's own fields came to.
    facts = {**fields, **saved, **{k: v for k, v in panel.items() if k != "orderings"}}
    return page.pairs({format_metric(name): _plain(value) for name, value in facts.items()})


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        kept = {k: v for k, v in value.items() if k != "path"}  # of no use to another reader
        if list(kept) == ["name"]:
            return str(kept["name"])
        return ", ".join(f"{k}: {_plain(v)}" for k, v in kept.items()) or "none"
    if isinstance(value, list):
        nested = [f"{v[0]} ({v[1]})" if isinstance(v, list) and len(v) == 2 else v for v in value]
        return ", ".join(map(str, nested)) or "none"
    return "none" if value is None else str(value)


PARTS = {
    "title": _title,
    "meta": _meta,
    "summary": _summary,
    "strategies": report_tables.strategies,
    "pareto": _pareto,
    "front": report_tables.front,
    "matrices": _matrices,
    "orderings": _orderings,
    "tasks": report_tables.tasks,
    "similarity": report_similarity.similarity,
    "best": report_tables.best,
    "trials": report_tables.trials,
    "failures": report_tables.failures,
    "cost": _cost,
    "setting": _setting,
    "glossary": report_tables.glossary,
}
"""What the template's places are filled with."""
