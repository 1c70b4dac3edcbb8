"""The command line of a search: flags -> SearchPlan -> Tuner -> report."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.commands import guarded

if TYPE_CHECKING:  # --help answers at once: what is heavy is imported where it is used
    from search.packing import Packing
    from search.plans import SearchPlan
    from search.prepared import Prepared

ROOT = Path(__file__).parent.parent
INITIAL = {"trained": "trained jointly before the first stage", "known": "known to the model"}


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
        choices=(*INITIAL, "none"),
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
    """Check everything, search, and write the report."""
    start = time.monotonic()
    from search.packing import packed
    from search.prepared import check_unchanged, prepare

    storage = (args.storage or ROOT / "results").expanduser().resolve()
    name = args.name or (latest(storage) if args.resume else None)
    plan = plan_of(args, storage / name if args.resume and name else None)
    prepared = prepare(plan, name, storage, args.resume)
    if args.resume:
        check_unchanged(prepared)
    packing = packed(prepared)
    place = dataclasses.replace(prepared.place, gpus=packing.share)
    prepared = dataclasses.replace(prepared, place=place)
    if args.measure:
        from search.estimate import measure
        from search.packing import proposal

        print("training and scoring one stage, to measure it", flush=True)
        print(f"measured    {proposal(prepared, measure(prepared))}")
    print(describe(prepared, packing), flush=True)
    if args.dry_run:
        return 0
    return execute(prepared, packing.lanes, start)


def plan_of(args: argparse.Namespace, resumed: Path | None) -> SearchPlan:
    """The named, read or saved plan with the flags' values in place of its own."""
    from search.plans import amended, named_plan
    from search.prepared import saved_plan
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
        return amended(saved_plan(resumed), values, "the flags")
    plan = amended(named_plan(args.plan or "default"), values, "the flags")
    if args.zero is not None:
        plan = dataclasses.replace(plan, training={**plan.training, "zero": args.zero})
    return plan


def latest(storage: Path) -> str:
    """The search in `storage` that was begun last."""
    from spaces.errors import InputError

    begun = {}
    for path in storage.glob("*/plan.json"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            begun[path.parent.name] = str(json.loads(path.read_text())["started"])
    if not begun:
        raise InputError(f'--resume needs a search to go on with; "{storage}" holds none')
    return max(begun, key=lambda name: (begun[name], name))


def describe(prepared: Prepared, packing: Packing) -> str:
    """The plan in a few lines: what, how much, where."""
    from search.estimate import told as estimated

    plan, panel = prepared.plan, prepared.panel
    trials = plan.samples + len(prepared.references)
    lines = [
        f"plan        {plan.plan}: {plan.model} on {plan.benchmark}, seed {plan.seed}",
        f"tasks       {', '.join(panel.tasks)}",
        f"examples    {', '.join(map(prepared.counts, prepared.all_tasks))} (train/validation/test)",
        *(
            [f"initial     {', '.join(panel.initial)}, {INITIAL[panel.learnt]}"]
            * bool(panel.initial)
        ),
        f"orderings   {len(panel.orderings)}: {'; '.join('>'.join(o) for o in panel.orderings)}",
        f"strategies  {', '.join(plan.strategies)}, beside {' and '.join(prepared.references)}",
        f"trials      {trials}, {packing}",
        f"stages      {prepared.configured_stages()} configured, at most {prepared.distinct_stages()} "
        f"distinct, {prepared.known_stages()} known to be in the store: at most {prepared.most_stages()} "
        "to be trained",
        f"memory      {told(prepared.memory)}",
        f"features    about {prepared.seen_bytes / 1e9:.2f} GB, {kept(prepared)}",
        f"estimate    {estimated(prepared, packing.lanes)}",
        f"results     {prepared.run}",
        *(f"note        {caution}" for caution in prepared.cautions()),
    ]
    return "\n".join(lines)


def kept(prepared: Prepared) -> str:
    """Where what the frozen vision tower sees is kept."""
    from search.looking import on_disk

    disk = "on disk, looked at once before the lanes start"
    return disk if on_disk(prepared) else "in each worker's memory"


def told(memory: Mapping[str, int]) -> str:
    """The estimate of one rank's memory in a line, the largest parts first."""
    parts = sorted(memory.items(), key=lambda part: -part[1])
    each = ", ".join(f"{name} {size / 1e9:.2f}" for name, size in parts if size >= 5e6)
    return f"about {sum(memory.values()) / 1e9:.2f} GB a rank: {each}"


def execute(prepared: Prepared, lanes: int, start: float) -> int:
    """Search until the plan is done or interrupted, then write tables and report.

    Returns the exit status: 1 if no trial that the search proposed could be finished, 130 after Ctrl-C.
    """
    from search.report import write_report
    from search.results import write_tables
    from search.screen import show_results
    from spaces.errors import InputError
    from trainables.leases import HeldError, held

    try:
        prepared.run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f'"{prepared.run}" cannot be made: {error.strerror}') from error
    try:
        with held(prepared.run / "lease", patience=0.0):
            save_plan(prepared)
            interrupted = run_trials(prepared, lanes)
            add_seconds(prepared.run / "plan.json", time.monotonic() - start)
    except HeldError:
        raise InputError(
            f'a search is run by one process at a time, and another runs "{prepared.run.name}" now: '
            "wait for it, or start anew with another --name"
        ) from None
    print("writing tables and report", flush=True)
    trials = write_tables(prepared.run).trials.to_pylist()
    write_report(prepared.run)
    if interrupted:
        print(f"interrupted: --resume --name {prepared.run.name} goes on with it")
        return 130
    show_results(prepared.run)
    print(f"done in {time.monotonic() - start:.0f} s")
    proposed = [t["state"] for t in trials if t["name"] not in prepared.references]
    return int(bool(proposed) and set(proposed) <= {"failed", "diverged"})


def save_plan(prepared: Prepared) -> None:
    """Write the plan down, with what a resumed search was given anew."""
    path = prepared.run / "plan.json"
    now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    begun = {"started": now, "seconds": 0.0}
    if prepared.resumed:
        begun = {name: json.loads(path.read_text())[name] for name in begun}
    write_json(path, prepared.to_dict() | begun)


def run_trials(prepared: Prepared, lanes: int) -> bool:
    """Run what is left of the plan's trials; returns whether that was interrupted (Tune takes Ctrl-C)."""
    import ray
    from ray.tune import Callback

    from search.cluster import connect
    from search.looking import with_features
    from search.progress import Progress
    from search.room import Room
    from search.tuner import build_searcher, build_tuner
    from trainables.sequence import panel_stages

    print("starting Ray and the workers", flush=True)
    connect(lanes * prepared.plan.workers_per_trial + 1)  # one for the trials themselves
    searcher, stages = build_searcher(prepared), panel_stages(prepared.panel)
    if searcher.left():
        prepared = with_features(prepared, lanes)
        trials = prepared.plan.samples + len(prepared.references)
        progress = Progress(prepared.run, trials, stages, lanes, prepared.plan.directions())
        callbacks: list[Callback] = [progress]
        if prepared.plan.store_limit is not None:
            callbacks.append(Room(prepared.run.parent, prepared.plan.store_limit))
        try:
            build_tuner(prepared, searcher, lanes, callbacks).fit()
        finally:
            progress.close()
    ray.shutdown()
    return bool(searcher.left()) and prepared.plan.time_budget is None


def add_seconds(path: Path, seconds: float) -> None:
    """Add the wall time of this go at the search to those before it."""
    plan = json.loads(path.read_text())
    write_json(path, plan | {"seconds": plan.get("seconds", 0.0) + seconds})


def write_json(path: Path, value: object) -> None:
    """Write a JSON file in one move."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(value, indent=1))
    os.replace(temporary, path)
