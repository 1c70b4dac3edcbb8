"""Made-up searches on disk, for tests of what comes after a search."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainables.scores import ScoreMatrix
from trainables.summary import summary

TASKS = ("animals", "digits", "signs")
ORDERINGS = (TASKS, TASKS[::-1])
OBJECTIVES = (("final_average", "max"), ("forgetting", "min"))


def matrix(ordering: Sequence[str], learned: float, kept: float, stages: int = 99) -> ScoreMatrix:
    """Every task is learned to `learned` less what it is hard; later stages keep a share `kept`."""
    rows: dict[int, dict[str, float]] = {0: dict.fromkeys(ordering, 0.1)}
    for stage in range(1, min(stages, len(ordering)) + 1):
        rows[stage] = {
            task: round((learned - hardness(task)) * kept ** (stage - position), 4)
            for position, task in enumerate(ordering[:stage], start=1)
        }
    return ScoreMatrix.from_rows(ordering, rows)


def hardness(task: str) -> float:
    """Differs between tasks, so that orderings differ."""
    return sum(map(ord, task)) % 5 * 0.04


def joint_matrix(ordering: Sequence[str], score: float) -> ScoreMatrix:
    """One stage on all tasks, standing where the sequence ends."""
    first, last = dict.fromkeys(ordering, 0.1), dict.fromkeys(ordering, score)
    return ScoreMatrix.from_rows(ordering, {0: first, len(ordering): last})


def record(
    name: str,
    strategy: str = "replay",
    matrices: Sequence[ScoreMatrix] = (),
    state: str = "finished",
    knobs: Mapping[str, Any] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """A trial's record, with changes; a matrix whose last row is empty is not whole."""
    matrices = matrices or [matrix(o, 0.8, 0.9) for o in ORDERINGS]
    total = sum(m.stages for m in matrices)
    done = sum(sum(not math.isnan(s[0]) for s in m.values[1:].tolist()) for m in matrices)
    return {
        "name": name,
        "state": state,
        "config": {
            "strategy": {"name": strategy, **(knobs or {})},
            "training": {"epochs": 4, "learning_rate": 0.003},
            "adapter": {"rank": 8, "parts": "connector+lm_lora"},
        },
        "metrics": metrics(matrices),
        "orderings": [m.to_dict() for m in matrices],
        "stages": stages(matrices, done, shared=name.isdigit() and name != "0000"),
        "stages_done": total if state == "finished" else done,
        "stages_total": total,
        "message": "",
        **changes,
    }


def metrics(matrices: Sequence[ScoreMatrix]) -> dict[str, float | None]:
    """The mean of every metric over the orderings that are whole."""
    whole = [m for m in matrices if not math.isnan(m.final_average())]
    each = [summary(m) for m in whole]
    found = {
        name: statistics.fmean(s[name] for s in each) if each else math.nan
        for name in summary(matrices[0])
    }
    finals = [s["final_average"] for s in each]
    found["final_average_std"] = statistics.stdev(finals) if len(finals) > 1 else 0.0
    found["worst_ordering"] = min(finals, default=math.nan)
    found["train_seconds"] = 3.5 * len(matrices)
    return {name: None if math.isnan(value) else value for name, value in found.items()}


def stages(matrices: Sequence[ScoreMatrix], done: int, shared: bool) -> list[dict[str, Any]]:
    """What each stage cost; the first one of each ordering may come from the store."""
    paths = [m.tasks[:i] for m in matrices for i in range(1, m.stages + 1)][:done]
    return [
        {
            "tasks": [[task] for task in path],
            "key": f"{number:040x}",
            "train_seconds": 3.5,
            "trained": not (shared and len(path) == 1),
            "waited": 0.25,
            "seconds": {} if shared and len(path) == 1 else {"train": 3.5, "score": 0.5},
        }
        for number, path in enumerate(paths)
    ]


def references(orderings: Sequence[Sequence[str]] = ORDERINGS) -> list[dict[str, Any]]:
    """The floor and the ceiling."""
    return [
        record("finetune", "finetune", [matrix(o, 0.8, 0.5) for o in orderings]),
        record("joint", "joint", [joint_matrix(o, 0.85) for o in orderings]),
    ]


def sampled(orderings: Sequence[Sequence[str]] = ORDERINGS) -> list[dict[str, Any]]:
    """Five trials: three finished, one stopped after its first ordering, one diverged."""

    def walked(learned: float, kept: float, orders: int = 99) -> list[ScoreMatrix]:
        whole = [matrix(o, learned, kept) for o in orderings[:orders]]
        return whole + [matrix(o, learned, kept, 0) for o in orderings[orders:]]

    ewc = {"strength": 1e8, "decay": 1.0}
    return [
        record("0000", "replay", walked(0.8, 0.92), knobs={"ratio": 0.01}),
        record("0001", "ewc", walked(0.6, 0.97), knobs=ewc),
        record("0002", "replay", walked(0.82, 0.95), knobs={"ratio": 0.2}),
        record("0003", "ewc", walked(0.7, 0.7, 1), "stopped", ewc | {"strength": 1e5}),
        record(
            "0004",
            "ewc",
            walked(0.7, 0.7, 0),
            "diverged",
            ewc | {"strength": 1e11},
            message="stage 2 on digits diverged: its weights must be finite after training",
        ),
    ]


def write_run(
    folder: Path, trials: Sequence[Mapping[str, Any]] | None = None, **changes: Any
) -> Path:
    """A search's folder with a plan and the records of `trials`; returns the folder."""
    (folder / "trials").mkdir(parents=True, exist_ok=True)
    plan = {
        "name": "made-up",
        "plan": {"plan": "default", "orderings": "given+reverse", "training": {"epochs": 4}},
        "objectives": OBJECTIVES,
        "panel": {"orderings": ORDERINGS, "scoring": "seen", "split": "validation"},
        "strategies": ["replay", "ewc"],
        "references": ["finetune", "joint"],
        "samples": 5,
        "seed": 0,
        "model": {"name": "llava-aligned", "path": "/somewhere/llava-aligned"},
        "benchmark": {"name": "mini", "path": "/somewhere/mini"},
        "metrics": dict.fromkeys(TASKS, "exact_match"),
        "fingerprints": {"model": "0a1b2c", "tasks": dict.fromkeys(TASKS, "3d4e5f")},
        "stages_configured": 30,
        "stages_distinct": 24,
        **changes,
    }
    (folder / "plan.json").write_text(json.dumps(plan))
    for trial in [*references(), *sampled()] if trials is None else trials:
        (folder / "trials" / f"{trial['name']}.json").write_text(json.dumps(trial))
    return folder
