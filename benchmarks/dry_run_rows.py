"""Seconds and memory of `search/run.py --dry-run` over many rows, the first time and the second.

    python benchmarks/dry_run_rows.py [--rows 100000]

The first dry run reads and converts the rows; the second finds them converted. Each row has a small
picture of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from io import BytesIO
from pathlib import Path

from PIL import Image

CHECKOUT = Path(__file__).parents[1]
TASKS = ("colour", "shape")
SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}
SIDES = (16, 24, 32, 48)


def write_benchmark(folder: Path, rows: int) -> Path:
    """Write raw rows of two tasks and their pictures; return the benchmark's file."""
    rng = random.Random(0)
    for task in TASKS:
        (folder / task / "images").mkdir(parents=True)
        for split, share in SHARES.items():
            with (folder / task / f"{split}.jsonl").open("w") as file:
                for number in range(round(rows / len(TASKS) * share)):
                    name = f"images/{split}-{number}.png"
                    (folder / task / name).write_bytes(picture(rng))
                    file.write(json.dumps(row(name, number)) + "\n")
    entry = "{{path: {0}, metric: exact_match, max_new_tokens: 8}}"
    lines = [f"  {task}: {entry.format(task)}\n" for task in TASKS]
    (folder / "tasks.yaml").write_text("name: many\ntasks:\n" + "".join(lines))
    return folder / "tasks.yaml"


def picture(rng: random.Random) -> bytes:
    """Return a small picture that no other row has."""
    size = (rng.choice(SIDES), rng.choice(SIDES))
    buffer = BytesIO()
    Image.frombytes("RGB", size, rng.randbytes(size[0] * size[1] * 3)).save(
        buffer, "PNG", compress_level=0
    )
    return buffer.getvalue()


def row(image: str, number: int) -> dict[str, str]:
    """Return a row as users write it."""
    question = f"What is to be seen in picture number {number}?"
    return {"image": image, "question": question, "answer": ("red", "blue", "a dog")[number % 3]}


def dry_run(benchmark: Path, storage: Path) -> tuple[float, str]:
    """Return the seconds of a dry run and what it printed."""
    flags = ("--model", "llava-instructed", "--strategies", "replay", "--samples", "1", "--dry-run")
    command = [sys.executable, "-W", "ignore", "search/run.py", "--benchmark", str(benchmark)]
    start = time.monotonic()
    done = subprocess.run(
        [*command, *flags, "--orderings", "given", "--storage", str(storage)],
        cwd=CHECKOUT,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    seconds, said = time.monotonic() - start, done.stdout + done.stderr
    if done.returncode:
        raise SystemExit(f"the dry run ended with status {done.returncode}:\n{said}")
    return seconds, said


def main() -> None:
    """Write the rows, run twice, and print a line for each run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--show", action="store_true", help="print what the dry runs print")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        benchmark = write_benchmark(Path(name) / "data", args.rows)
        for number, what in enumerate(("converting", "converted before")):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            seconds, said = dry_run(benchmark, Path(name) / "storage")
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            peak = f"{after.ru_maxrss / 1e6:.2f} GB at most"
            print(
                f"run {number + 1} ({what}): {args.rows} rows, {seconds:.1f} s, {used:.1f} s CPU, {peak}",
                flush=True,
            )
            if args.show:
                print(said)


if __name__ == "__main__":
    main()
