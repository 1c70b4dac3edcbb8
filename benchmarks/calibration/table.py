"""The recorded table of real trials, and the components of its noise."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.calibration.model import Components
from spaces.references import CEILING, FLOOR, REFERENCES

TABLE = Path(__file__).parent / "table.json"

Ordering = tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Final averages of real trials, complete over configurations, seeds and orderings."""

    scores: Mapping[tuple[str, int, Ordering], float]
    """By configuration, seed and ordering."""
    strategies: Mapping[str, str]
    """Strategy of each configuration."""
    seeds: tuple[int, ...]
    orderings: tuple[Ordering, ...]
    seconds: Mapping[str, float]
    """Mean seconds of training an ordering, by configuration."""
    examples: Mapping[str, int]
    """Validation examples of each task."""

    def cells(self, name: str) -> np.ndarray:
        """Return a configuration's scores, seeds x orderings."""
        return np.array([[self.scores[name, s, o] for o in self.orderings] for s in self.seeds])

    def of(self, strategy: str) -> list[str]:
        """Return the configurations of a strategy."""
        return [name for name, own in self.strategies.items() if own == strategy]


def read_table(path: Path = TABLE) -> Table:
    """Read the table; joint tuning, which has one ordering, is repeated for all of them."""
    content = json.loads(path.read_text())
    rows = content["rows"]
    strategies = {row["name"]: row["strategy"] for row in rows}
    orderings = sorted({tuple(row["ordering"]) for row in rows if row["strategy"] != CEILING})
    scores: dict[tuple[str, int, Ordering], float] = {}
    for row in rows:
        final = float(np.mean(row["scores"][-1]))
        for ordering in orderings if row["strategy"] == CEILING else [tuple(row["ordering"])]:
            scores[row["name"], row["seed"], ordering] = final
    seconds = {
        name: float(np.mean([row["train_seconds"] for row in rows if row["name"] == name]))
        for name in strategies
    }
    seeds = tuple(sorted({row["seed"] for row in rows}))
    return Table(scores, strategies, seeds, tuple(orderings), seconds, content["examples"])


def spreads(table: Table) -> list[str]:
    """Return what moves each configuration's score: seeds, orderings, and the rest, as deviations."""
    lines = [f"{'configuration':32}  mean    seeds  orderings  rest"]
    for name in table.strategies:
        cells = table.cells(name)
        rest = cells - cells.mean(0) - cells.mean(1, keepdims=True) + cells.mean()
        degrees = (cells.shape[0] - 1) * (cells.shape[1] - 1)
        parts = (cells.mean(1).std(ddof=1), cells.mean(0).std(ddof=1))
        own = float(np.sqrt((rest**2).sum() / degrees))
        lines.append(
            f"{name:32}  {cells.mean():.3f}  {parts[0]:.3f}  {parts[1]:.3f}      {own:.3f}"
        )
    return lines


def fitted(table: Table) -> Components:
    """Return the model's components as the table has them, by its mean squares.

    Configuration x seed x ordering is a full factorial design with one run a cell, and all effects but the
    configuration's are random (Searle, Casella and McCulloch 1992, chapter 4). Negative components are 0.
    Fresh luck of the answers is a part of the rest, and the model adds it by itself: it is taken away. How
    much of an answer's variance comes with its example is not in the table, and keeps the model's default.
    """
    names = [n for n, strategy in table.strategies.items() if strategy not in REFERENCES]
    cells = np.array([table.cells(name) for name in names])
    squares = _mean_squares(cells)
    configs, seeds, orderings = cells.shape
    rest = squares["rest"]
    ordering_own = (squares["config x ordering"] - rest) / seeds
    seed_own = (squares["config x seed"] - rest) / orderings
    both = squares["seed x ordering"] - rest
    seed = (squares["seed"] - squares["config x seed"] - both) / (configs * orderings)
    ordering = (squares["ordering"] - squares["config x ordering"] - both) / (configs * seeds)
    means = {
        strategy: np.array([table.cells(name).mean() for name in table.of(strategy)])
        for strategy in dict.fromkeys(table.strategies[name] for name in names)
    }
    within = np.mean([own.var(ddof=1) for own in means.values()])
    mean = float(np.mean([own.mean() for own in means.values()]))
    # The mean over tasks of equal weight is as precise as one over so many examples of one task.
    count = round(len(table.examples) ** 2 / sum(1 / n for n in table.examples.values()))
    given = Components(examples=count, tasks=len(table.examples), mean=mean)
    return dataclasses.replace(
        given,
        strategies=len(means),
        floor=max(table.cells(name).mean() for name in table.of(FLOOR)),
        ceiling=max(table.cells(name).mean() for name in table.of(CEILING)),
        strategy=float(np.std([own.mean() for own in means.values()], ddof=1)),
        knobs=float(np.sqrt(within)),
        ordering=_deviation(ordering),
        seed=_deviation(seed + both / configs),
        ordering_own=_deviation(ordering_own),
        seed_own=_deviation(seed_own + rest - given.answers),
    )


def _mean_squares(cells: np.ndarray) -> dict[str, float]:
    """Return the mean squares of a full factorial table, configurations x seeds x orderings."""
    configs, seeds, orderings = cells.shape
    total = cells.mean()
    by_config, by_seed, by_ordering = (
        cells.mean(axis, keepdims=True) for axis in ((1, 2), (0, 2), (0, 1))
    )
    pairs = {
        "config x seed": cells.mean(2, keepdims=True) - by_config - by_seed + total,
        "config x ordering": cells.mean(1, keepdims=True) - by_config - by_ordering + total,
        "seed x ordering": cells.mean(0, keepdims=True) - by_seed - by_ordering + total,
    }
    rest = cells - by_config - by_seed - by_ordering + 2 * total - sum(pairs.values())
    free = {
        "config x seed": (configs - 1) * (seeds - 1),
        "config x ordering": (configs - 1) * (orderings - 1),
        "seed x ordering": (seeds - 1) * (orderings - 1),
        "rest": (configs - 1) * (seeds - 1) * (orderings - 1),
        "seed": seeds - 1,
        "ordering": orderings - 1,
    }
    effects = {**pairs, "rest": rest, "seed": by_seed - total, "ordering": by_ordering - total}
    return {
        name: float((np.broadcast_to(effect, cells.shape) ** 2).sum()) / free[name]
        for name, effect in effects.items()
    }


def _deviation(variance: float) -> float:
    return float(np.sqrt(max(0.0, variance)))
