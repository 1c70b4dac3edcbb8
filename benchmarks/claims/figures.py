"""The page's figures, as SVG files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.claims.evidence import Evidence, Pair, Unit
from benchmarks.claims.verdicts import REGULARISERS
from spaces.errors import InputError
from strategies.similarity import SIGNALS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, GREY = "#4878a8", "#9a9a9a"
INFORMED = "#d98032"


def canvas(width: float, height: float, columns: int = 1, rows: int = 1) -> tuple[Figure, Any]:
    """A figure of white ground, and its axes (rows, columns)."""
    try:
        import matplotlib
    except ImportError as error:
        raise InputError("figures need matplotlib: pip install -e '.[bench]'") from error
    from matplotlib.figure import Figure

    matplotlib.rcParams.update({"svg.hashsalt": "citune", "font.size": 9})
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    return figure, figure.subplots(rows, columns, squeeze=False)


def save(figure: Figure, path: Path) -> Path:
    """Write an SVG file that is the same for the same figure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None})
    return path


def bars(evidence: Evidence, path: Path) -> Path:
    """The final average of each strategy with its interval; bounds, plain and informed ones by colour."""
    names = evidence.strategies
    found = [evidence.mean(name, "final_average") for name in names]
    figure, axes = canvas(7.2, 3.0)
    axis = axes[0, 0]
    colours = [_colour(evidence, name) for name in names]
    axis.bar(
        names,
        [i.value for i in found],
        yerr=[0.0 if i.half != i.half else i.half for i in found],
        color=colours,
        capsize=3,
        error_kw={"elinewidth": 1},
    )
    axis.set_ylabel("final average, 95 % CI")
    axis.set_ylim(bottom=0)
    axis.spines[["top", "right"]].set_visible(False)
    return save(figure, path)


def _colour(evidence: Evidence, name: str) -> str:
    if name in ("finetune", "joint"):
        return GREY
    return BLUE if name in evidence.plain else INFORMED


def shown(evidence: Evidence) -> list[str]:
    """The strategies whose matrices are drawn."""
    names = ("finetune", "replay", evidence.chosen(REGULARISERS), "tir", "eproj", "joint")
    return [name for name in dict.fromkeys(names) if name in evidence.units]


def mean_matrix(evidence: Evidence, name: str, ordering: tuple[str, ...]) -> np.ndarray:
    """A strategy's score matrix, mean over seeds; the tasks of the ordering alone."""
    units: Sequence[Unit] = [u for u in evidence.units[name] if u[1] == ordering]
    matrices = [evidence.units[name][unit].matrices["scores"].values for unit in units]
    empty = np.full((len(ordering) + 1, len(ordering)), np.nan)
    return np.mean(matrices, axis=0)[:, : len(ordering)] if matrices else empty


def heat_maps(evidence: Evidence, ordering: tuple[str, ...], path: Path) -> Path:
    """Score matrices of the strategies that the claims are about."""
    names = shown(evidence)
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure, axes = canvas(3.1 * columns, 2.9 * rows, columns, rows)
    for axis, name in zip(axes.flat, names, strict=False):
        _heat_map(axis, mean_matrix(evidence, name, ordering), ordering, name)
    for axis in list(axes.flat)[len(names) :]:
        axis.set_axis_off()
    return save(figure, path)


def _heat_map(axis: Any, values: np.ndarray, tasks: Sequence[str], title: str) -> None:
    axis.pcolormesh(np.ma.masked_invalid(values), vmin=0, vmax=1, cmap="Blues")
    for (row, column), value in np.ndenumerate(values):
        if value == value:
            colour = "white" if value > 0.6 else "black"
            spot = {"ha": "center", "va": "center", "fontsize": 7, "color": colour}
            axis.text(column + 0.5, row + 0.5, f"{value:.2f}", **spot)
    axis.invert_yaxis()
    axis.set_title(title, fontsize=9)
    axis.set_xticks(np.arange(len(tasks)) + 0.5, tasks, rotation=40, ha="right", fontsize=7)
    axis.set_yticks(np.arange(len(tasks) + 1) + 0.5, ["before", *tasks], fontsize=7)
    axis.tick_params(length=0)


def scatter(pairs: Sequence[Pair], path: Path) -> Path:
    """Similarity against what learning the second task costs the first; a colour for each first task."""
    figure, axes = canvas(6.4, 3.6)
    axis = axes[0, 0]
    for task in sorted({pair.first for pair in pairs}):
        own = [pair for pair in pairs if pair.first == task and SIGNALS[0] in pair.similarity]
        axis.scatter(
            [pair.similarity[SIGNALS[0]] for pair in own],
            [pair.forgetting for pair in own],
            label=task,
            s=28,
        )
    axis.axhline(0, color=GREY, linewidth=0.8, zorder=0)
    axis.set_xlabel("similarity of the two tasks (image x instruction x answer)")
    axis.set_ylabel("forgetting of the first task")
    axis.legend(title="first task", fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    axis.spines[["top", "right"]].set_visible(False)
    return save(figure, path)
