"""The process that holds a lease, and whether it still runs."""

from __future__ import annotations

import json
import os
import platform
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import psutil

PROC = Path("/proc")
Life = Literal["runs", "ended", "unknown"]
"""State of a process; unknown for one of another machine."""


def this_process() -> dict[str, str | int | float]:
    """Return what names this process: its kernel, its machine, its number and its start."""
    pid = os.getpid()
    return {
        "kernel": _kernel(),
        "machine": f"{platform.node()}/{uuid.getnode():x}",
        "pid": pid,
        "started": _started(pid),
    }


def life(content: str) -> Life:
    """Return whether the owner that a lease names still runs, by its process and not by a clock.

    A stopped process runs: it goes on when its machine wakes up.
    """
    owner = _parse(content)
    try:
        # One kernel and one space of process numbers: a container's numbers mean nothing elsewhere.
        if owner["kernel"] != _kernel():
            return "unknown"
        if psutil.Process(owner["pid"]).status() == psutil.STATUS_ZOMBIE:
            return "ended"
        return "runs" if _started(owner["pid"]) == owner["started"] else "ended"
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return "ended"
    except (ValueError, KeyError, TypeError, OverflowError, OSError, psutil.Error):
        return "unknown"  # half written, or of another program


def describe(content: str) -> str:
    """Describe the owner that a lease names, for a person who waits for it."""
    owner = _parse(content)
    if "pid" not in owner:
        return "an unknown process"
    return f"process {owner['pid']} on {str(owner.get('machine', '')).partition('/')[0]}"


def _parse(content: str) -> Mapping[str, Any]:
    try:
        owner = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return owner if isinstance(owner, dict) else {}


def _kernel() -> str:
    """Return what two processes have in common if each can see the other's number."""
    if sys.platform != "linux":
        return f"{platform.node()}/{uuid.getnode():x}"
    boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}/{os.readlink(PROC / 'self/ns/pid')}"


def _started(pid: int) -> float:
    """Return a process's start; on Linux in ticks since the boot, which no change of the clock moves."""
    if sys.platform != "linux":
        return psutil.Process(pid).create_time()
    # The name, in parentheses, may hold anything; the start is the 22nd field.
    after_name = (PROC / str(int(pid)) / "stat").read_text().rpartition(")")[2]
    return float(after_name.split()[19])
