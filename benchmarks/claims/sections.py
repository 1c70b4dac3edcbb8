"""The tables of one preset: its strategies, matrices, winners, experts, pairs of tasks."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.claims.evidence import RELATIVE, Evidence, Pair, Study, Walked
from benchmarks.claims.figures import mean_matrix
from benchmarks.claims.stats import correlation, mean
from benchmarks.claims.tables import folded, interval, plain, signed, table
from search.results.formatting import format_knobs, format_number
from strategies.similarity import MODALITIES, SIGNALS


class Column(NamedTuple):
    """A metric as the table of strategies shows it."""

    metric: str
    title: str
    scale: float = 1.0
    digits: int = 3


COLUMNS = (
    Column("final_average", "final average"),
    Column("forgetting", "forgetting"),
    Column("backward_transfer", "backward transfer"),
    Column("learning_average", "learning average"),
    Column(RELATIVE, "forgetting / learning average"),
    Column("initial_forgetting", "forgetting of initial tasks"),
    Column("added_parameters", "added parameters, thousands", 1e3, 1),
    Column("stored_bytes", "stored, kB", 1e3, 1),
    Column("core_seconds", "training, s of one core", 1.0, 1),
)


def strategies(evidence: Evidence) -> list[str]:
    """Every strategy's winner: what it reached and what it cost."""
    names = evidence.strategies
    shown = [
        column
        for column in COLUMNS
        if any(not math.isnan(evidence.mean(name, column.metric).value) for name in names)
    ]
    rows = [
        [name, *(interval(evidence.mean(name, c.metric), c.scale, c.digits) for c in shown)]
        for name in names
    ]
    return table(["strategy", *(column.title for column in shown)], rows)


def tuned(study: Study) -> list[str]:
    """What each strategy's winner was, and what it reached on the tuning orderings."""
    metric = study.search.objectives[0][0]
    rows = []
    for name in study.evidence.strategies:
        row = study.search.strategies[name]
        trial, count = row["best"], str(row["trials"])
        knobs = format_knobs(study.search.varied_knobs(trial)) or "-"
        rows.append([name, count, trial, format_number(row[metric]), knobs])
    head = ["strategy", "trials", "winner", f"{metric}, tuning orderings", "knobs"]
    return folded("The winners", table(head, rows))


def matrices(evidence: Evidence, ordering: tuple[str, ...]) -> list[str]:
    """Every strategy's score matrix on one ordering, mean over seeds."""
    lines = []
    for name in evidence.strategies:
        values = mean_matrix(evidence, name, ordering)
        stages = ["before", *(f"{n}. {task}" for n, task in enumerate(ordering, start=1))]
        rows = [[s, *map(plain, row)] for s, row in zip(stages, values.tolist(), strict=True)]
        lines += [f"{name}:", "", *table(["after", *ordering], rows)]
    return folded("The same for every strategy, as tables", lines)


def retrieval(evidence: Evidence) -> list[str]:
    """How often eproj finds the right expert after each stage, and its score if it always did."""
    units = evidence.units.get("eproj", {})
    names = ("retrieval_accuracy", "scores", "oracle_score")
    first = next(iter(units.values()), None)
    if first is None or any(name not in first.matrices for name in names):
        return [f"{evidence.preset}: no results of eproj yet.", ""]
    rows = []
    for stage in range(1, first.matrices["scores"].stages + 1):
        cells = [
            interval(mean({u: _seen(one, name, stage) for u, one in units.items()}))
            for name in names
        ]
        rows.append([str(stage), *cells])
    head = ["after stage", "retrieval accuracy", "score", "score with oracle routing"]
    return [f"eproj in {evidence.preset}, mean over the tasks seen:", "", *table(head, rows)]


def _seen(unit: Walked, name: str, stage: int) -> float:
    return float(np.mean(unit.matrices[name].values[stage, :stage]))


def similarities(evidence: Evidence) -> list[str]:
    """The correlation of similarity and forgetting over a preset's pairs, and the pairs."""
    known = [pair for pair in evidence.pairs if SIGNALS[0] in pair.similarity]
    if not known:
        return [f"{evidence.preset}: no pairs of tasks yet.", ""]
    lost = [pair.forgetting for pair in known]
    by = {name: [p.similarity[name] for p in known] for name in (SIGNALS[0], *MODALITIES)}
    rows = [[name.replace("*", " x "), *_correlations(known, s, lost)] for name, s in by.items()]
    within = within_first(known, by[SIGNALS[0]]), within_first(known, lost)
    rows.insert(1, ["the same, within each first task", *_correlations(known, *within)])
    head = ["similarity", "Pearson (95 % CI)", "Spearman (95 % CI)", "pairs"]
    each = [
        [p.first, p.second, plain(p.similarity[SIGNALS[0]]), signed(p.forgetting)] for p in known
    ]
    return [
        f"### Pairs of {evidence.preset}",
        "",
        *table(head, rows),
        *folded("The pairs", table(["first", "second", "similarity", "forgetting"], each)),
    ]


def within_first(pairs: Sequence[Pair], values: Sequence[float]) -> list[float]:
    """Values less the mean over the pairs with the same first task."""
    own: dict[str, list[float]] = {}
    for pair, value in zip(pairs, values, strict=True):
        own.setdefault(pair.first, []).append(value)
    return [
        value - statistics.fmean(own[pair.first]) for pair, value in zip(pairs, values, strict=True)
    ]


def _correlations(
    pairs: Sequence[Pair], similar: Sequence[float], lost: Sequence[float]
) -> list[str]:
    groups = [frozenset((pair.first, pair.second)) for pair in pairs]
    found = [correlation(similar, lost, groups, ranked) for ranked in (False, True)]
    cells = [f"{signed(f.value)} ({signed(f.low)} to {signed(f.high)})" for f in found]
    return [*cells, str(len(pairs))]
