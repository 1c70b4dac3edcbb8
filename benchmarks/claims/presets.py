"""The two presets as they are run: their searches, the winners, the orderings held out."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.plan.plan_file import named_plan
from search.plan.resolve import resolve_plan
from search.plan.resolved_plan import ResolvedPlan
from search.results.outcome import read_outcome
from search.results.run_folder import read_run_folder
from spaces.errors import InputError
from spaces.references import REFERENCES
from tasks import parse_orderings

ROOT = Path(__file__).resolve().parent.parent.parent
OVER = ("finished", "stopped", "diverged", "failed")


@dataclass(frozen=True)
class Preset:
    """A plan, checked, and the orderings on which its winners are compared."""

    asked: str
    """The plan's name or file."""
    resolved: ResolvedPlan
    held_out: tuple[tuple[str, ...], ...]

    @property
    def name(self) -> str:
        """Of the plan and of its search."""
        return self.resolved.plan.plan

    @property
    def folder(self) -> Path:
        """Of the search."""
        return self.resolved.run


def read_preset(asked: str, work: Path, samples: int, held_out: str) -> Preset:
    """A preset with `samples` for each strategy; raises `InputError` for what does not hold."""
    plan = named_plan(asked)
    if not plan.balanced:
        raise InputError(f'strategies are compared at equal budgets: "{asked}" must be balanced')
    plan = dataclasses.replace(plan, samples=samples * len(plan.strategies))
    resolved = resolve_plan(plan, plan.plan, work, resume=True)
    return Preset(asked, resolved, apart(resolved.panel.orderings, held_out))


def apart(tuning: Sequence[tuple[str, ...]], spec: str) -> tuple[tuple[str, ...], ...]:
    """The two orderings of `spec` on which winners are compared; none may be a tuning ordering."""
    found = [o.tasks for o in parse_orderings(spec, tuning[0])]
    left = tuple(ordering for ordering in found if ordering not in tuning)
    if len(left) != 2:
        raise InputError(
            f"--held-out must name two orderings that nothing was tuned on, got {len(left)} in "
            f'"{spec}" for {", ".join(tuning[0])}: another seed, such as random:2@1, may do'
        )
    return left


def search(preset: Preset, lanes: int) -> None:
    """Run the preset's search, or what is left of it; raises `InputError` if that goes wrong."""
    if complete(preset):
        print(f"{preset.name}: the search is complete", flush=True)
        return
    begun = (preset.folder / "plan.json").exists()
    told = ["--resume"] if begun else ["--plan", preset.asked]
    command = [
        *(sys.executable, str(ROOT / "search" / "run.py"), *told, "--name", preset.name),
        *("--storage", str(preset.folder.parent), "--concurrent", str(lanes)),
        *("--samples", str(preset.resolved.plan.samples)),
    ]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        status = process.wait()
    except BaseException:
        process.send_signal(signal.SIGINT)  # Tune finishes what it writes
        process.wait()
        raise
    if status or not complete(preset):
        raise InputError(
            f'the search "{preset.name}" must end well before its winners can be compared; '
            f"it ended with status {status}: the same command goes on with it"
        )


def complete(preset: Preset) -> bool:
    """Whether every trial of the search is over."""
    if not (preset.folder / "plan.json").exists():
        return False
    states = [trial.state for trial in read_run_folder(preset.folder).trials]
    wanted = preset.resolved.plan.samples + len(REFERENCES)
    return sum(state in OVER for state in states) >= wanted


def winners(folder: Path) -> dict[str, dict[str, Any]]:
    """The configuration of each strategy's best finished trial, by strategy; the bounds are among them."""
    verdict = read_outcome(folder)
    best = {name: row["best"] for name, row in verdict.strategies.items() if row["best"]}
    return {name: dict(verdict.run.trial(trial).config) for name, trial in best.items()}
