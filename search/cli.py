"""The command line of a search: flags -> SearchPlan -> Tuner -> report."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.commands import guarded

if TYPE_CHECKING:  # --help answers at once: what is heavy is imported where it is used
    from search.plan.search_plan import SearchPlan

ROOT = Path(__file__).parent.parent


def parser() -> argparse.ArgumentParser:
    """The flags; those left out keep the plan's own values."""
    p = argparse.ArgumentParser(
        prog="search/run.py",
        description="Search strategies against forgetting, across task orderings, for one model.",
    )
    plan = p.add_argument_group("what to search")
    plan.add_argument("--plan", help="smoke, default, a preset, or a YAML file (default: default)")
    plan.add_argument("--model", help="an embedded model or a folder that from_pretrained reads")
    plan.add_argument("--benchmark", help="mini, a preset, or a folder or YAML file of yours")
    plan.add_argument("--data", help="the folder of a preset's data (default: CITUNE_DATA)")
    plan.add_argument("--tasks", help="the tasks learned, comma-separated (default: all)")
    plan.add_argument("--strategies", help="comma-separated, replay+ewc for both at once")
    plan.add_argument(
        "--orderings",
        help="given, reverse, alphabetical, rotations, all, random:K@seed, shared:K, a>b;b>a, joined by +",
    )
    plan.add_argument(
        "--initial",
        choices=("trained", "known", "none"),
        help="the benchmark's initial tasks: trained before, known to the model, or left out",
    )
    plan.add_argument(
        "--text-encoder",
        help="a sentence encoder's folder, for task similarity (default: the LMM's own)",
    )
    plan.add_argument("--objectives", help="comma-separated metrics; the first chooses the best")
    plan.add_argument("--seed", type=int, help="of everything that is drawn")
    spend = p.add_argument_group("what to spend")
    spend.add_argument("--samples", type=int, help="configurations proposed by the search")
    spend.add_argument("--concurrent", type=int, help="trials at once (default: as devices allow)")
    spend.add_argument("--workers-per-trial", type=int, help="DeepSpeed ranks of each trial")
    spend.add_argument(
        "--gpus-per-worker", type=float, metavar="SHARE", help="1, or less for lanes that share one"
    )
    spend.add_argument("--zero", type=int, choices=(0, 1, 2, 3), help="DeepSpeed ZeRO stage")
    spend.add_argument(
        "--stopping", help="of weak trials: asha, median, racing over orderings, none"
    )
    spend.add_argument("--time-budget", type=float, metavar="SECONDS", help="stop after so long")
    spend.add_argument("--features", help="of frozen towers: auto, disk, or memory, each worker's")
    spend.add_argument(
        "--store-limit", type=float, metavar="GB", help="stages kept: old weights go, scores stay"
    )
    where = p.add_argument_group("where")
    where.add_argument("--name", help="of the search: its folder in the storage")
    where.add_argument(
        "--storage",
        type=Path,
        help="a folder that all nodes see (default: results in the checkout)",
    )
    where.add_argument(
        "--resume", action="store_true", help="go on with a search, the last if unnamed"
    )
    where.add_argument("--dry-run", action="store_true", help="check and print the plan, and stop")
    where.add_argument(
        "--measure", action="store_true", help="train one stage first: for estimates, and lanes"
    )
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run a search; returns the exit status: 2 for a mistake in what was asked for."""
    args = parser().parse_args(argv)
    return guarded(lambda: run(args))


def run(args: argparse.Namespace) -> int:
    """Check the plan, search, and write tables and report; returns the exit status."""
    start = time.monotonic()
    from search.plan.resolve import check_unchanged, resolve_plan
    from search.prepared_search import prepare_search

    storage = (args.storage or ROOT / "results").expanduser().resolve()
    name = args.name or (latest_search(storage) if args.resume else None)
    plan = plan_from_flags(args, storage / name if args.resume and name else None)
    resolved = resolve_plan(plan, name, storage, args.resume)
    if args.resume:
        check_unchanged(resolved)
    prepared = prepare_search(resolved)
    if args.measure:
        from search.resources.cost_estimate import measure
        from search.resources.packing import propose_packing

        print("training and scoring one stage, to measure it", flush=True)
        peak = measure(prepared.resolved)
        print(f"measured    {propose_packing(resolved, prepared.needs.probe, peak)}")
    from search.dry_run import describe

    print(describe(prepared), flush=True)
    if args.dry_run:
        return 0
    from search.run_search import run_search

    return run_search(prepared, start)


def plan_from_flags(args: argparse.Namespace, resumed: Path | None) -> SearchPlan:
    """The named, read or saved plan with the flags' values in place of its own."""
    from search.plan.plan_file import named_plan, with_fields
    from search.plan.resolve import resumed_plan
    from spaces.errors import InputError

    free = ("samples", "concurrent", "gpus_per_worker", "time_budget", "store_limit")
    named = ("model", "benchmark", "orderings", "initial", "workers_per_trial", "seed")
    names = (*named, "stopping", "features", *free)
    values: dict[str, Any] = {n: v for n in names if (v := getattr(args, n)) is not None}
    for n in ("data", "text_encoder"):
        if (folder := getattr(args, n)) is not None:
            values[n] = str(Path(folder).expanduser().resolve())
    for n in ("tasks", "strategies", "objectives"):
        if (text := getattr(args, n)) is not None:
            values[n] = [part.strip() for part in text.split(",") if part.strip()]
    if resumed:
        other = sorted(
            set(values) - set(free) | {n for n in ("plan", "zero") if vars(args)[n] is not None}
        )
        if other:
            raise InputError(
                f"a search is resumed with the plan it began with; got --{other[0].replace('_', '-')}, "
                "and only --samples, --concurrent, --gpus-per-worker, --time-budget and --store-limit may "
                "differ"
            )
        return with_fields(resumed_plan(resumed), values, "the flags")
    plan = with_fields(named_plan(args.plan or "default"), values, "the flags")
    if args.zero is not None:
        plan = dataclasses.replace(plan, training={**plan.training, "zero": args.zero})
    return plan


def latest_search(storage: Path) -> str:
    """Return the name of the search that was begun last; files that are no plan are skipped."""
    from search.plan.saved_plan import PLAN_FILE, read_saved_plan
    from spaces.errors import InputError

    started: dict[str, str] = {}
    for path in storage.glob(f"*/{PLAN_FILE}"):
        with contextlib.suppress(InputError):
            started[path.parent.name] = read_saved_plan(path.parent).started
    if not started:
        raise InputError(f'--resume needs a search to go on with; "{storage}" holds none')
    return max(started, key=lambda name: (started[name], name))
