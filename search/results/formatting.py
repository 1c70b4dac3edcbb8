"""Numbers, knobs and durations as the terminal and the report print them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def format_metric(name: str) -> str:
    """Return a metric's name with spaces, for running text."""
    return name.replace("_", " ")


def format_number(value: Any) -> str:
    """Return a score with three decimals, seconds with one, large numbers without any."""
    if isinstance(value, float) and value == value:
        if abs(value) >= 1e5:
            return f"{value:,.0f}"
        return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
    return "-" if value is None or value != value else str(value)


def format_mean_std(row: Mapping[str, Any], metric: str) -> str:
    """Return a metric's mean ± standard deviation over the orderings."""
    std = row.get(f"{metric}_std")
    return format_number(row.get(metric)) + (f" ± {std:.3f}" if std is not None else "")


def format_knobs(knobs: Mapping[str, Any]) -> str:
    """Return knobs in one line, floats to four digits."""
    short = {k: f"{v:.4g}" if isinstance(v, float) else v for k, v in knobs.items()}
    return ", ".join(f"{name}={value}" for name, value in short.items())


def format_duration(seconds: float) -> str:
    """Return a duration in the units of speech: 8.1 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
