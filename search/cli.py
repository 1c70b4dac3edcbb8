"""The command line of a search: flags -> SearchPlan -> Tuner -> report."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.exit_status import damage_told, guarded
from search.plan.preferences import PREFERENCES
from spaces.command_line import Parser, number_flag, path_flag, text_flag, time_flag, whole_flag

if TYPE_CHECKING:  # --help answers at once: heavy modules are imported where they are used
    from search.plan.search_plan import SearchPlan
    from search.prepared_search import PreparedSearch

ROOT = Path(__file__).parent.parent


def parser() -> argparse.ArgumentParser:
    """Return the parser of the flags; a flag that is not given keeps the plan's value."""
    p = Parser(
        prog="search/run.py",
        description="Search for the strategy that forgets least, across task orderings, for one model.",
    )
    _add_plan_flags(p.add_argument_group("what to search"))
    _add_protocol_flags(p.add_argument_group("what to choose by"))
    _add_budget_flags(p.add_argument_group("what to spend"))
    _add_confirmation_flags(p.add_argument_group("how sure to be"))
    _add_run_flags(p.add_argument_group("where, and whether to train"))
    return p


def _add_plan_flags(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--plan", type=text_flag, help="smoke, default, a preset, or a YAML file (default: default)"
    )
    add(
        "--model",
        type=text_flag,
        help="an embedded model, a folder that from_pretrained reads, or a hub id",
    )
    add("--benchmark", type=text_flag, help="mini, a preset, or a folder or YAML file of your own")
    add("--data", type=path_flag, help="folder of a preset's data (default: CITUNE_DATA)")
    add("--tasks", help="tasks to learn, comma-separated (default: all)")
    add(
        "--strategies",
        help="strategies to search, comma-separated; replay+ewc combines two",
    )
    add(
        "--orderings",
        type=text_flag,
        help="given, reverse, alphabetical, rotations, all, random:K@seed, shared:K, a>b;b>a, joined by +",
    )
    add(
        "--initial",
        type=text_flag,
        choices=("trained", "known", "none"),
        help="initial tasks of the benchmark: trained first, known to the model, or left out",
    )
    add(
        "--general",
        help="tasks to score and never train, comma-separated; none leaves out the benchmark's",
    )
    add(
        "--text-encoder",
        type=path_flag,
        help="folder of a sentence encoder for task similarity (default: the LMM's own)",
    )
    add("--seed", type=whole_flag, help="seed of the search, the data order and the weights")


def _add_protocol_flags(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--objectives",
        help="metrics, comma-separated; the first one chooses the best trial",
    )
    add(
        "--held-out-tasks",
        help="tasks to confirm the choice on and not to search on, three or more, comma-separated",
    )
    add(
        "--search-stages",
        type=whole_flag,
        metavar="K",
        help="search on the first K tasks of each ordering alone",
    )


def _add_budget_flags(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--samples", type=whole_flag, help="number of configurations that the search proposes")
    add(
        "--reference-samples",
        type=whole_flag,
        metavar="N",
        help="runs of finetune and of joint if shared knobs are searched (default: as many as a strategy)",
    )
    add(
        "--concurrent",
        type=whole_flag,
        help="trials at once (default: as many as the devices allow)",
    )
    add("--workers-per-trial", type=whole_flag, help="DeepSpeed ranks of each trial")
    add(
        "--gpus-per-worker",
        type=number_flag,
        metavar="SHARE",
        help="GPU share of each worker: 1, or less for lanes that share a GPU",
    )
    add("--zero", type=whole_flag, choices=(0, 1, 2, 3), help="DeepSpeed ZeRO stage")
    add(
        "--stopping",
        type=text_flag,
        help="rule that stops weak trials: asha, median, racing (over orderings), none",
    )
    add(
        "--time-budget",
        type=time_flag,
        metavar="TIME",
        help="stop the search after this time: 90m, 2h, 1h30m, or seconds",
    )
    add(
        "--features",
        type=text_flag,
        help="where to cache features of the frozen vision tower: auto, disk, or memory (per worker)",
    )
    add(
        "--store-limit",
        type=number_flag,
        metavar="GB",
        help="size limit of the stage store; the least recently used weights are deleted, scores are kept",
    )


def _add_confirmation_flags(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--confirm",
        type=whole_flag,
        metavar="K",
        help="finalists that are trained again on orderings and seeds that chose nothing; 0 = none "
        "(default: in proportion to the stages of the search)",
    )
    add(
        "--confirm-seeds",
        type=whole_flag,
        metavar="S",
        help="fresh seeds at most, each with a fresh ordering, that finalists are confirmed on",
    )
    add(
        "--prefer",
        type=text_flag,
        choices=PREFERENCES,
        help="cost that chooses among finalists that are not told apart (default: training)",
    )


def _add_run_flags(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--name",
        type=text_flag,
        help="name of the search: its folder in the storage (default: plan and time)",
    )
    add(
        "--storage",
        type=path_flag,
        help="folder that all nodes see (default: results in the checkout)",
    )
    add(
        "--resume",
        action="store_true",
        help="continue a search: the last one if --name is not given",
    )
    add("--dry-run", action="store_true", help="check and print the plan, then exit")
    add(
        "--measure",
        action="store_true",
        help="train one stage first, to estimate the cost and propose a number of lanes",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run a search; return the exit status, 2 for a mistake in flags, plan or data."""
    args = parser().parse_args(argv)
    return guarded(lambda: run(args))


def run(args: argparse.Namespace) -> int:
    """Check the plan, search, and write tables and report; returns the exit status."""
    start = time.monotonic()
    storage = (args.storage or ROOT / "results").resolve()
    name = args.name or (latest_search(storage) if args.resume else None)
    with damage_told(storage, *([storage / name] if name else [])) as damage:
        prepared = prepare(args, storage, name)
        if args.dry_run:
            return 0
        from search.run_search import run_search

        return run_search(prepared, start, damage)


def prepare(args: argparse.Namespace, storage: Path, name: str | None) -> PreparedSearch:
    """Return the search that the flags name, checked, measured if asked for, and described."""
    from search.dry_run import describe
    from search.plan.resolve import check_unchanged, resolve_plan
    from search.prepared_search import prepare_search

    if args.resume and name:
        from search.tuning.recorded_plan import check_plan

        for line in check_plan(storage / name):
            print(line, flush=True)
    plan = plan_from_flags(args, storage / name if args.resume and name else None)
    resolved = resolve_plan(plan, name, storage, args.resume)
    if args.resume:
        from search.confirmation.finalists import check_units
        from search.tuning.recorded_plan import check_samples

        check_unchanged(resolved)
        check_samples(resolved.run, plan.samples)
        check_units(resolved.run, plan.confirm_seeds)
    prepared = prepare_search(resolved)
    if args.measure:
        from search.resources.cost_estimate import measure
        from search.resources.packing import propose_packing

        print("training and scoring one stage, to measure it", flush=True)
        peak = measure(prepared.resolved)
        print(f"measured    {propose_packing(resolved, prepared.needs.probe, peak)}")
    print(describe(prepared), flush=True)
    return prepared


def plan_from_flags(args: argparse.Namespace, resumed: Path | None) -> SearchPlan:
    """Return the plan that the flags name, or that of a `resumed` folder, with the flags' values."""
    from search.plan.plan_file import named_plan, with_fields
    from search.plan.resolve import resumed_plan
    from search.tuning.recorded_plan import RESUMABLE
    from spaces.errors import InputError

    names = ("model", "benchmark", "orderings", "initial", "workers_per_trial", "seed")
    names += ("search_stages", "stopping", "features", "reference_samples", *RESUMABLE)
    values: dict[str, Any] = {n: v for n in names if (v := getattr(args, n)) is not None}
    for name in ("data", "text_encoder"):
        if (folder := getattr(args, name)) is not None:
            values[name] = str(folder.resolve())
    for name in ("tasks", "held_out_tasks", "strategies", "objectives", "general"):
        if (given := getattr(args, name)) is not None:
            values[name] = _names(f"--{name.replace('_', '-')}", given)
    if resumed:
        given = {n for n in ("plan", "zero") if vars(args)[n] is not None} | set(values)
        if fixed := sorted(given - set(RESUMABLE)):
            raise InputError(
                f"a search is resumed with the plan it began with; got --{fixed[0].replace('_', '-')}, "
                "and only --samples, --confirm, --confirm-seeds, --prefer, --concurrent, "
                "--gpus-per-worker, --time-budget and --store-limit may differ"
            )
        return with_fields(resumed_plan(resumed), values, "the flags")
    plan = with_fields(named_plan(args.plan or "default"), values, "the flags")
    if args.zero is not None:
        plan = dataclasses.replace(plan, training={**plan.training, "zero": args.zero})
    return plan


def _names(flag: str, given: str) -> list[str]:
    """Return the names of a flag; raises `InputError` for an empty one, as a variable not set leaves."""
    from spaces.errors import InputError, shown

    names = [part.strip() for part in given.split(",")]
    # No tasks are all, another protocol, or the benchmark's general ones; no others are refused as such.
    if names == [""] and flag not in ("--tasks", "--held-out-tasks", "--general"):
        return []
    if not all(names):
        raise InputError(
            f"{flag} must be names separated by commas, got an empty name in {shown(given)}"
        )
    return names


def latest_search(storage: Path) -> str:
    """Return the name of the search that was begun last; files that are no plan are skipped."""
    from search.plan.saved_plan import PLAN_FILE, read_saved_plan
    from spaces.errors import InputError

    started: dict[str, str] = {}
    for path in storage.glob(f"*/{PLAN_FILE}"):
        with contextlib.suppress(InputError):
            started[path.parent.name] = read_saved_plan(path.parent).started
    if not started:
        raise InputError(f'--resume needs a search to continue, and "{storage}" holds none')
    return max(started, key=lambda name: (started[name], name))
