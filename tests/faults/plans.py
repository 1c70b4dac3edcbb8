"""Plans and storages with faults, and Ray in a place where it cannot start."""

from __future__ import annotations

from pathlib import Path

from tests.faults.case import DRY_RUN, Case, write_benchmark

PLAN = ("search/run.py", "--plan", "{folder}/plan.yaml", "--strategies", "replay", "--dry-run")
RESUME = ("search/run.py", "--resume", "--name", "cut", "--storage", "{folder}", "--dry-run")
TWICE = """\
extends: default
space:
  adapter.rank: [8, 16]
space:
  replay.ratio: {low: 0.01, high: 0.1}
"""


def file(name: str, content: bytes):
    def write(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)

    return write


def plan(more: str):
    return file("plan.yaml", f"extends: default\n{more}\n".encode())


CASES = [
    Case(
        "plan_key_twice", file("plan.yaml", TWICE.encode()), 2, ("'?space'?", "twice"), command=PLAN
    ),
    Case("plan_of_10^60_samples", plan("samples: 1" + "0" * 60), 2, ("samples",), command=PLAN),
    Case("plan_halving_1", plan("halving: 1"), 2, ("halving",), command=PLAN),
    Case("plan_seed_10^30", plan("seed: 1" + "0" * 30), 2, ("seed",), command=PLAN),
    Case(
        "plan_empty_interval",
        plan("space: {replay.ratio: {low: 0.2, high: 0.1}}"),
        2,
        ("ratio",),
        command=PLAN,
    ),
    Case("plan_refers_to_itself", plan("space: &s {a: *s}"), 2, ("error",), command=PLAN),
    Case("plan_of_2000_brackets", plan("space: " + "[" * 2000), 2, ("error",), command=PLAN),
    Case(
        "plan_value_of_100000_characters",
        plan("benchmark: " + "x" * 100_000),
        2,
        ("error",),
        ("x{2000}",),
        command=PLAN,
    ),
    Case(
        "plan.json without fields",
        file("cut/plan.json", b'{"fields": null}'),
        2,
        ("plan.json",),
        command=RESUME,
    ),
    Case(
        "plan.json that is not UTF-8",
        file("cut/plan.json", b"\xff\xfe"),
        2,
        ("plan.json",),
        command=RESUME,
    ),
    Case(
        "storage that cannot be made",
        write_benchmark,
        2,
        ("/proc/x",),
        command=tuple("/proc/x" if w == "{folder}/storage" else w for w in DRY_RUN),
    ),
    Case(
        "mistyped flag",
        lambda folder: None,
        2,
        ("--samples",),
        ("usage",),
        command=("search/run.py", "--sample", "3"),
    ),
]
