"""Real searches in processes of their own, started from a folder that is not the checkout."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import yaml
from toy import ADAPTER, TRAINING, Toy

SEARCH = Path(__file__).parents[1] / "search"
MARK = "CITUNE_TEST"
PLAN = {
    "tasks": ["hue", "light", "half"],
    "orderings": "hue>light>half;hue>half>light",
    "strategies": ["replay", "ewc"],
    "training": TRAINING,
    "adapter": ADAPTER,
    "space": {
        "replay.ratio": {"low": 0.1, "high": 0.3},
        "ewc.strength": {"low": 1e2, "high": 1e5, "log": True},
    },
}
"""Two orderings with a common first task: five stages a trial."""


def write_plan(path: Path, toy: Toy, **changes: Any) -> Path:
    """A plan file for the toy."""
    where = {"benchmark": str(toy.benchmark), "model": str(toy.model)}
    path.write_text(yaml.safe_dump({**PLAN, **where, **changes}))
    return path


@contextmanager
def started(script: str, *args: object, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """A command of `search/`, of which nothing is left at the end, whatever happens."""
    mark = uuid.uuid4().hex
    environment = {**os.environ, MARK: mark, "RAY_ADDRESS": "local"}
    with open(cwd / f"{script}.log", "a") as log:
        process = subprocess.Popen(
            [sys.executable, str(SEARCH / f"{script}.py"), *map(str, args)],
            **{"cwd": cwd, "env": environment, "text": True, "stdout": log, "stderr": log},
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            gone(mark)


def ran(script: str, *args: object, cwd: Path) -> str:
    """Run a command of `search/` to its good end; returns what it said."""
    with started(script, *args, cwd=cwd) as process:
        status = process.wait(timeout=540)
    said = (cwd / f"{script}.log").read_text()
    assert status == 0, said[-6000:]
    return said


def killed(script: str, *args: object, cwd: Path, when: Callable[[], bool]) -> None:
    """Start a command, and kill it with signal 9 as soon as `when` holds."""
    with started(script, *args, cwd=cwd) as process:
        until(when, 300)
        assert process.poll() is None, "it was over before it could be killed"
        process.send_signal(signal.SIGKILL)
        process.wait()


def until(holds: Callable[[], bool], seconds: float) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"waited {seconds:.0f} s in vain"
        time.sleep(0.05)


def gone(mark: str) -> None:
    """Wait until all processes of a search have ended, as Ray's do when their driver has died."""
    with_mark: list[psutil.Process] = []

    def none() -> bool:
        with_mark[:] = [p for p in psutil.process_iter() if _has(p, mark)]
        return not with_mark

    try:
        until(none, 60)
    finally:
        for process in with_mark:
            process.kill()


def _has(process: psutil.Process, mark: str) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARK) == mark
    except psutil.Error:
        return False


# What a search left ------------------------------------------------------------------------------


def trials(run: Path) -> dict[str, dict[str, Any]]:
    """The records of all trials, by name."""
    return {f.stem: json.loads(f.read_text()) for f in sorted((run / "trials").glob("*.json"))}


def stages(run: Path) -> dict[str, int]:
    """The trained stages in the store beside a search: when each record was written, by key."""
    records = (run.parent / "stages" / "records").rglob("*.json")
    found = {f.stem: (json.loads(f.read_text()), f.stat().st_mtime_ns) for f in records}
    return {key: written for key, (record, written) in found.items() if record["kind"] == "trained"}
