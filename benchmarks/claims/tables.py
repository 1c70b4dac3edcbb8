"""Figures as the page writes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks.claims.stats import Interval

NONE = "-"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table and the empty line after it; a line instead if it has no rows."""
    if not rows:
        return ["No results yet.", ""]
    lines = [f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *rows]]
    return [*lines, ""]


def interval(found: Interval, scale: float = 1.0, digits: int = 3, signed_: bool = False) -> str:
    """Mean ± half the interval; the mean alone where there is no interval."""
    if found.value != found.value:
        return NONE
    sign = "+" if signed_ else ""
    text = f"{found.value / scale:{sign}.{digits}f}"
    return text if found.half != found.half else f"{text} ± {found.half / scale:.{digits}f}"


def signed(value: float) -> str:
    """An end of an interval."""
    return NONE if value != value else f"{value:+.3f}"


def plain(value: float) -> str:
    """A score."""
    return NONE if value != value else f"{value:.3f}"


def joined(words: Iterable[str]) -> str:
    """Words with commas."""
    return ", ".join(words)


def folded(title: str, lines: Sequence[str]) -> list[str]:
    """What is shown only when it is asked for."""
    return [f"<details><summary>{title}</summary>", "", *lines, "</details>", ""]
