"""Do the five claims of He et al. 2023 hold on the embedded models? The figures of docs/paper_claims.md.

    python benchmarks/paper_claims.py --work FOLDER

searches each strategy's space on the tuning orderings with an equal budget, trains the winners at
other seeds on held-out orderings, and writes the page. What is finished is kept in FOLDER: the same
command goes on after an interruption.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # the lanes share the cores, and results hang on it
ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

from search.exit_status import guarded  # noqa: E402
from spaces.errors import InputError, unknown  # noqa: E402
from spaces.files import write_atomically  # noqa: E402  # after the path is set

PRESETS = "mini_1,mini_2"
ABOUT = "about.json"
"""In the folder: machine, command and the seconds of all goes."""


def parser() -> argparse.ArgumentParser:
    """The flags."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--work", type=Path, required=True, help="folder of searches and results")
    p.add_argument("--samples", type=int, default=4, help="configurations of each strategy")
    p.add_argument("--seeds", default="1,2,3", help="of the finals; the search has seed 0")
    p.add_argument("--held-out", default="random:2@7", help="two orderings not tuned on")
    p.add_argument("--lanes", type=int, default=2, help="processes at once, of one thread each")
    p.add_argument(
        "--presets", default=PRESETS, help="aligned and instructed start: plans or files"
    )
    p.add_argument("--only", help="run this preset alone, and do not write the page")
    p.add_argument("--page", action="store_true", help="only write the page again")
    p.add_argument("--out", type=Path, default=ROOT / "docs" / "paper_claims.md")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is asked for; returns the exit status, 2 for a mistake in what was asked."""
    args = parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _end)
    try:
        return guarded(lambda: run(args))
    except KeyboardInterrupt:
        print("interrupted: the same command goes on", file=sys.stderr)
        return 130


def _end(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def run(args: argparse.Namespace) -> int:
    """Searches, finals, pairs, page."""
    args.work = args.work.expanduser().resolve()
    asked = [name.strip() for name in args.presets.split(",")]
    if len(asked) != 2:
        raise InputError(f"--presets must name two plans, got {args.presets}")
    names = [Path(name).stem if name.endswith((".yaml", ".yml")) else name for name in asked]
    if args.only and args.only not in names:
        raise unknown("preset", args.only, names)
    if not args.page:
        begun = time.monotonic()
        try:
            make(args, asked)
        finally:
            write_about(args, time.monotonic() - begun)
    if not args.only:
        write_page(args.work, names, args.out)
    return 0


def make(args: argparse.Namespace, asked: Sequence[str]) -> None:
    """Everything that the page is made of and is not there yet."""
    from benchmarks.claims import jobs
    from benchmarks.claims.presets import read_preset, search
    from benchmarks.claims.runs import run_jobs

    both = [read_preset(name, args.work, args.samples, args.held_out) for name in asked]
    seeds = seeds_of(args.seeds, [preset.resolved.plan.seed for preset in both])
    chosen = [preset for preset in both if args.only in (None, preset.name)]
    for preset in chosen:
        search(preset, args.lanes)
    wanted = []
    for preset in chosen:
        wanted += jobs.finals(preset, seeds, args.work)
        wanted += jobs.informed(preset, seeds, args.work)
        if preset is both[1]:
            wanted += jobs.other_start(both[0], preset, seeds, args.work)
            wanted += jobs.rates(both[0], preset, seeds, args.work)
        wanted += jobs.pairs(preset, args.work)
    for preset in chosen:
        own = {job.file.name: job.identity for job in wanted if job.preset == preset.name}
        jobs.write_wanted(args.work, preset.name, own)
    run_jobs(wanted, args.lanes)
    for preset in chosen:
        jobs.write_similarity(preset, args.work)


def seeds_of(text: str, searched: Sequence[int]) -> list[int]:
    """The seeds of the finals; raises `InputError` unless they differ, from those searched too."""
    try:
        seeds = [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"--seeds must be numbers with commas, got {text}") from None
    if len({*seeds, *searched}) != len(seeds) + len(set(searched)):
        raise InputError(
            f"--seeds must differ from one another and from the search's, {searched[0]}, got {text}"
        )
    return seeds


def write_page(work: Path, names: Sequence[str], out: Path) -> None:
    """The page and its figures, from what is in the folder."""
    from benchmarks.claims.evidence import read_study
    from benchmarks.claims.page import page

    about = read_about(work)
    studies = [read_study(work, name) for name in names]
    text = page(studies, about, out.parent / out.stem)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text)
    print(out)


def read_about(work: Path) -> dict[str, Any]:
    """What is written down of the goes so far."""
    file = work / ABOUT
    return json.loads(file.read_text()) if file.exists() else {}


def write_about(args: argparse.Namespace, seconds: float) -> None:
    """Add one go's seconds, and say what was asked of which machine."""
    from search.final.best_record import library_versions
    from trainables.store.stage_keys import rank_code

    if not args.work.is_dir():
        return
    defaults = vars(parser().parse_args(["--work", "x"]))
    flags = [
        f" --{name.replace('_', '-')} {value}"
        for name, value in vars(args).items()
        if name not in ("work", "out", "only", "page", "presets") and value != defaults[name]
    ]
    about = {
        "command": f"python benchmarks/paper_claims.py --work FOLDER{''.join(flags)}",
        "machine": machine(),
        "versions": {name: library_versions()[name] for name in ("torch", "transformers")}
        | {"training code": rank_code()[:12]},
        "lanes": args.lanes,
        "seconds": read_about(args.work).get("seconds", 0.0) + seconds,
    }
    write_atomically(args.work / ABOUT, json.dumps(about, indent=1))


def machine() -> str:
    """The processor, its cores and the memory."""
    import psutil

    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    memory = psutil.virtual_memory().total / 2**30
    return f"{models[0] if models else name}, {os.cpu_count()} cores, {memory:.0f} GiB of memory"


if __name__ == "__main__":
    sys.exit(main())
