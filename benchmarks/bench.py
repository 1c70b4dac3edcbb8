"""Every speed claim measured, one after the other, into results.jsonl; and docs/performance.md from that.

python benchmarks/bench.py                     # all, in some hours, with nothing else running
python benchmarks/bench.py --only scoring thresholds
python benchmarks/bench.py --page              # only docs/performance.md again
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

RESULTS = ROOT / "benchmarks" / "results.jsonl"
PAGE = ROOT / "docs" / "performance.md"
PROFILE = ROOT / "benchmarks" / "speed" / "lane_profile.json"
SHAPES = ROOT / "benchmarks" / "speed" / "shapes.jsonl"
"""Output of `benchmarks/speed/shapes.py` on a machine with a GPU."""
NOTES = ROOT / "benchmarks" / "speed" / "notes.md"
"""A person's remarks on the results, copied unchanged."""
SCRIPTS = (
    *("imports", "thresholds", "training_step", "cached_features", "scoring", "zero_memory"),
    *("stage_sharing", "warm_lane", "flat_memory", "bookkeeping"),
    *("concurrent_trials", "restart", "lane_profile", "time_to_best", "whole_search"),
)
"""The short ones first; `lane_profile` claims nothing, and looks where a stage's time goes."""


def main() -> int:
    """Measure what is asked for; returns 1 if a script failed."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--only", nargs="*", choices=SCRIPTS, default=SCRIPTS)
    p.add_argument("--page", action="store_true", help="only write the page again")
    args = p.parse_args()
    failed = [] if args.page else [name for name in args.only if not measured(name)]
    PAGE.write_text(page(known()))
    print(PAGE)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


def measured(name: str) -> bool:
    """Run one script; its lines take the place of those it printed before."""
    print(f"{name} ...", flush=True)
    command = [sys.executable, "-m", f"benchmarks.speed.{name}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    environment["PYTHONWARNINGS"] = "ignore"
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"name"')]
    new = [json.loads(line) | {"script": name, "commit": commit()} for line in lines]
    rest = [result for result in known() if result["script"] != name]
    if new or done.returncode:  # what failed has no result any more
        RESULTS.write_text("".join(json.dumps(result) + "\n" for result in [*rest, *new]))
    for line in lines:
        print(line, flush=True)
    return done.returncode == 0


def commit() -> str:
    """Name the checkout's commit, and tell whether more than the generated files differs from it."""

    def git(*asked: str) -> str:
        return subprocess.run(
            ["git", *asked], cwd=ROOT, capture_output=True, text=True
        ).stdout.strip()

    made = (f":!{RESULTS.relative_to(ROOT)}", ":!docs", ":!benchmarks/speed/lane_profile.json")
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", *made)
    return git("rev-parse", "--short", "HEAD") + ("-dirty" if changed else "")


def known() -> list[dict[str, Any]]:
    """Read the results so far."""
    lines = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    order = {name: place for place, name in enumerate(SCRIPTS)}
    return sorted(map(json.loads, lines), key=lambda r: order.get(r["script"], len(order)))


def page(results: list[dict[str, Any]]) -> str:
    """Render the table of all results, and the remarks."""
    machines = dict.fromkeys(result["machine"] for result in results)
    head = [
        "# How fast it is",
        "",
        "`make bench` measures every line of this table into "
        "[results.jsonl](../benchmarks/results.jsonl), beside the commit that was measured (`-dirty`: with "
        "changes that were committed later). "
        "What is timed against something else is timed in turns with it, in one run: the ratio is the "
        "median over pairs, beside the least and the greatest. What is counted, or timed once, has one "
        "value; "
        f"what is replayed has quartiles. Machine: {'; '.join(machines) or '-'}.",
        "",
        "| what | ratio | least to greatest | target | met | unit |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    rows = [
        f"| [{r['name']}](../benchmarks/speed/{r['script']}.py) | {r['ratio']:.4g} | "
        f"{r['low']:.4g} to {r['high']:.4g} | {r['target']} | {'yes' if r['met'] else '**no**'} | "
        f"{r['unit']} |"
        for r in results
    ]
    parts = ["", "## What the lines are made of", ""]
    for r in results:
        told = ", ".join(f"{name.replace('_', ' ')} {_plain(v)}" for name, v in r["parts"].items())
        at = f" (at {r['commit']})" if r.get("commit") else ""
        parts.append(f"- {r['name']}{at}: {told or '-'}")
    notes = NOTES.read_text().strip() if NOTES.exists() else ""
    return "\n".join([*head, *rows, *parts, "", *profile(), *shapes(), notes]).rstrip() + "\n"


def profile() -> list[str]:
    """Render the parts of the time of a lane's stage."""
    if not PROFILE.exists():
        return []
    told = json.loads(PROFILE.read_text())
    return [
        "## Where a lane's stage spends its time",
        "",
        f"Samples of a warm lane's worker ([lane_profile.py](../benchmarks/speed/lane_profile.py), as a "
        f"[flame graph](lane_stage.svg)) while it made stages of {told['stage_seconds']:.2f} s: five tasks "
        "of `mini`, `replay`, one epoch, each stage scored on the validation examples of all tasks seen.",
        "",
        "| part | share |",
        "| --- | --- |",
        *(f"| {name} | {share:.1%} |" for name, share in told["parts"].items()),
        "",
    ]


def shapes() -> list[str]:
    """Render training steps at the shapes of real models, on a GPU."""
    if not SHAPES.exists():
        return []
    told = [json.loads(line) for line in SHAPES.read_text().splitlines()]
    devices = ", ".join(dict.fromkeys(line["device"] for line in told))
    return [
        "## At the shapes of real models",
        "",
        f"Random weights in bf16, on one {devices}, as [shapes.py](../benchmarks/speed/shapes.py) printed "
        "it there ([shapes.jsonl](../benchmarks/speed/shapes.jsonl)): a training step on features "
        "that were kept, the share of the maker's dense bf16 operations that it uses, the memory it "
        "peaks at, and how many times longer it takes when the tower looks at every image. What "
        "checkpointing computes twice does not count as used.",
        "",
        "| shape | trained | checkpointing | examples | step | utilisation | memory | kept features gain |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        *(
            f"| {t['shape']} | {t['parts']} | {'yes' if t['checkpointing'] else 'no'} | {t['batch']} | "
            f"{t['step_seconds'] * 1e3:.0f} ms | {_told(t['flops_utilisation'], '.0%')} | "
            f"{_told(t['memory_gb'], '.1f')} GB | {t['cached_gain']:.2f} |"
            for t in told
        ),
        "",
    ]


def _told(value: float | None, how: str) -> str:
    return "-" if value is None else format(value, how)


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{k.replace('_', ' ')} {_plain(v)}" for k, v in value.items())
    if isinstance(value, list):
        return " and ".join(map(_plain, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
