"""Digest the numbers of a checkout, to show that a change of structure changes none of them.

    python benchmarks/same_numbers.py digest CHECKOUT --work FOLDER > before.json
    python benchmarks/same_numbers.py compare before.json after.json

Only the command line of the checkout is used, so that commits of any structure can be compared.
Two searches train every strategy on both embedded families, and a third is the sequential default.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

MODELS = ("llava-aligned", "instructblip-aligned")
STRATEGIES = ("replay", "der", "a_gem", "ewc", "mas", "lwf", "tir", "eproj", "replay+ewc")
SMALL_PLAN = {
    "extends": "default",
    "tasks": ["animal", "digit"],
    "orderings": "given",
    "strategies": list(STRATEGIES),
    "samples": len(STRATEGIES),
    "confirm": 0,
    "stopping": "none",
}
SEQUENTIAL = ("--concurrent", "1")
TIME_COLUMNS = frozenset(
    "train_seconds stages_trained stages_shared seconds_trained seconds_shared seconds_waited "
    "seconds_scored seconds_prefixes seconds_spared seconds_cached seconds_unlooked".split()
)
"""Columns that depend on the clock and on which trial came first."""


def main() -> int:
    """Digest one checkout, or compare two digests."""
    p = argparse.ArgumentParser(description=__doc__)
    commands = p.add_subparsers(dest="command", required=True)
    digest = commands.add_parser("digest")
    digest.add_argument("checkout", type=Path)
    digest.add_argument("--work", type=Path, required=True, help="an empty folder for the searches")
    compare = commands.add_parser("compare")
    compare.add_argument("before", type=Path)
    compare.add_argument("after", type=Path)
    args = p.parse_args()
    if args.command == "digest":
        print(json.dumps(digest_checkout(args.checkout.resolve(), args.work.resolve()), indent=1))
        return 0
    return report_differences(*(json.loads(f.read_text()) for f in (args.before, args.after)))


def digest_checkout(checkout: Path, work: Path) -> dict[str, Any]:
    """Return the SHA-256 of each strategy's trained weights, and of each row of the tables."""
    commit = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=checkout, text=True).strip()
    weights = {}
    for model in MODELS:
        work.mkdir(parents=True, exist_ok=True)
        plan = work / f"{model}.yaml"
        plan.write_text(yaml.safe_dump({**SMALL_PLAN, "model": model}))
        run_search(checkout, work / model, "--plan", str(plan))
        weights[model] = trained_weights(work / model)
    run_search(checkout, work / "default", *SEQUENTIAL)
    return {"commit": commit, "weights": weights, "tables": table_rows(work / "default")}


def run_search(checkout: Path, storage: Path, *flags: str) -> None:
    """Run one search of the checkout; its output goes to a log beside the storage."""
    command = [sys.executable, "search/run.py", *flags, "--storage", str(storage), "--name", "it"]
    with open(storage.with_suffix(".log"), "w") as log:
        subprocess.run(command, cwd=checkout, stdout=log, stderr=subprocess.STDOUT, check=True)


def trained_weights(storage: Path) -> dict[str, str]:
    """Return the SHA-256 of the weights of each trial's last stage, by strategy."""
    found = {}
    for file in sorted((storage / "it" / "trials").glob("*.json")):
        trial = json.loads(file.read_text())
        key = trial["stages"][-1]["key"]
        (record,) = storage.rglob(f"records/*/{key}.json")
        strategy = trial["config"]["strategy"]
        name = strategy if isinstance(strategy, str) else strategy["name"]
        found[f"{file.stem} {name}"] = json.loads(record.read_text())["blob"]["sha256"]
    return found


def table_rows(storage: Path) -> dict[str, dict[str, str]]:
    """Return each CSV table without its time columns: a digest of every column, by name."""
    tables = {}
    for file in sorted((storage / "it").rglob("*.csv")):
        with open(file, newline="") as lines:
            rows = list(csv.DictReader(lines))
        names = [name for name in (rows[0] if rows else {}) if name not in TIME_COLUMNS]
        tables[file.stem] = {
            name: hashlib.sha256("\n".join(row[name] for row in rows).encode()).hexdigest()
            for name in names
        } | {"rows": str(len(rows))}
    return tables


def report_differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> int:
    """Print every digest that differs; the exit status is 1 if any does."""
    print(f"before {before['commit']}\nafter  {after['commit']}")
    same = 0
    different = []
    for part in ("weights", "tables"):
        for name in sorted({*before[part], *after[part]}):
            old, new = before[part].get(name, {}), after[part].get(name, {})
            for key in sorted({*old, *new}):
                if old.get(key) == new.get(key):
                    same += 1
                else:
                    different.append(f"{part} {name} {key}: {old.get(key)} -> {new.get(key)}")
    print(*different, f"{same} digests equal, {len(different)} differ", sep="\n")
    return int(bool(different))


if __name__ == "__main__":
    sys.exit(main())
