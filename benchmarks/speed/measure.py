"""Two ways to do one thing, timed in turns, and the line of JSON that says how they compare."""

from __future__ import annotations

import gc
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import psutil

Job = Callable[[], object]
PAIRS = 5


@dataclass(frozen=True)
class Cost:
    """Seconds on the clock, and on the processor of this process and its living children."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Result:
    """One claim: what was measured, and whether it holds."""

    name: str
    ratio: float
    low: float
    """The least of all pairs."""
    high: float
    """The greatest of all pairs."""
    target: str
    """Bound on the ratio, such as "<= 1.10"."""
    unit: str
    parts: dict[str, Any] = field(default_factory=dict)
    """Parts of the ratio, and other measurements."""

    @property
    def met(self) -> bool:
        """True if the ratio meets the target."""
        sign, value = self.target.split()
        return self.ratio <= float(value) if sign == "<=" else self.ratio >= float(value)

    def tell(self) -> None:
        """Print the line of JSON."""
        from benchmarks.paper_claims import machine

        values = asdict(self) | {"met": self.met, "machine": machine()}
        print(json.dumps({k: _short(v) for k, v in values.items()}), flush=True)


def cost_of(job: Job) -> Cost:
    """Measure the cost of `job`, after a collection of earlier garbage."""
    gc.collect()
    wall, cpu = time.perf_counter(), _cpu()
    job()
    return Cost(time.perf_counter() - wall, _cpu() - cpu)


def in_turns(
    one: Job, other: Job, pairs: int = PAIRS, warm: bool = True
) -> list[tuple[Cost, Cost]]:
    """Measure both jobs in turns; with `warm` each runs once before, uncounted."""
    if warm:
        one()
        other()
    found = []
    for number in range(pairs):
        # Who comes first gains or loses by it: each does as often.
        first, second = (one, other) if number % 2 == 0 else (other, one)
        costs = {id(job): cost_of(job) for job in (first, second)}
        found.append((costs[id(one)], costs[id(other)]))
        say(f"pair {number + 1} of {pairs}: {found[-1][0].wall:.2f} s, {found[-1][1].wall:.2f} s")
    return found


def compared(
    name: str, pairs: Sequence[tuple[Cost, Cost]], target: str, unit: str, **parts: Any
) -> Result:
    """Return the median over pairs of the wall time of the first over that of the second."""
    walls = [one.wall / other.wall for one, other in pairs]
    cpus = [one.cpu / other.cpu for one, other in pairs if other.cpu > 0]
    seconds = {
        "wall_seconds": [
            statistics.median(c.wall for c in side) for side in zip(*pairs, strict=True)
        ],
        "cpu_seconds": [
            statistics.median(c.cpu for c in side) for side in zip(*pairs, strict=True)
        ],
        "cpu_ratio": statistics.median(cpus) if cpus else math.nan,
        "pairs": len(pairs),
    }
    low, high = min(walls), max(walls)
    return Result(name, statistics.median(walls), low, high, target, unit, seconds | parts)


def exact(name: str, value: float, target: str, unit: str, **parts: Any) -> Result:
    """Return a result that is counted, not timed."""
    return Result(name, value, value, value, target, unit, parts)


def say(text: str) -> None:
    """Tell how it goes, beside the line of JSON."""
    print(text, file=sys.stderr, flush=True)


def _cpu() -> float:
    process = psutil.Process()
    family = [process, *process.children(recursive=True)]
    spent = 0.0
    for one in family:
        try:
            times = one.cpu_times()
        except psutil.Error:
            continue
        spent += times.user + times.system
    return spent


def _short(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {k: _short(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_short(v) for v in value]
    return value
