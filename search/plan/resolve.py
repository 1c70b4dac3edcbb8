"""Resolution of a search plan: its mistakes are found here, before any worker starts.

A plan that goes on with a search is also compared with that search, by `check_unchanged`.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Sequence
from pathlib import Path

from models.family import check_parts
from models.folder.weights import check_weights
from models.location import (
    embedded_names,
    folder_family,
    model_fingerprint,
    model_folder,
    pinned_name,
)
from models.text_encoder import text_encoder_fingerprint
from search.plan.checks import (
    DATA,
    STAGES,
    check_batches,
    check_budget,
    check_experts,
    check_model_named,
    check_no_secrets,
    check_run_folder,
    check_settings,
    check_training,
    general_tasks,
    initial_tasks,
    row_requirements,
    searched_strategies,
)
from search.plan.protocol import (
    check_held_out,
    planned_tasks,
    searched_panel,
    searched_tasks,
)
from search.plan.resolved_plan import ResolvedPlan
from search.plan.saved_plan import PLAN_FILE, read_saved_plan, record_plan
from search.plan.search_plan import SearchPlan
from search.plan.space import ConfigSpace, config_space
from spaces import InputError
from tasks import EMBEDDED, Benchmark, RowReport, check_rows, load_benchmark, parse_orderings
from tasks.presets import PRESETS, data_folder, write_preset
from tasks.user_data.damaged_data import KNOWN
from tasks.user_data.prepared_benchmark import prepare_benchmark
from trainables.panel import Panel
from trainables.stage_job import Fingerprints, WorkerSpec

PRESET_FOLDER = ".presets"  # a search's name cannot begin with a dot
"""Folder in the storage for presets with the paths of their data."""


def resolve_plan(plan: SearchPlan, name: str | None, storage: Path, resume: bool) -> ResolvedPlan:
    """Resolve and check a plan; raises `InputError` for the first fault.

    With `resume` the search may exist; the caller then runs `check_unchanged` on the result.
    """
    storage = storage.expanduser().resolve()
    check_run_folder(name, storage)
    check_no_secrets(plan)
    strategies = searched_strategies(plan)
    check_budget(plan)
    check_settings(plan)
    check_model_named(plan)
    space = _space(plan, strategies)
    folder, encoder = _model_folder(plan, space), _text_encoder(plan)
    # Raw data are converted once; a resumed search uses the converted data.
    benchmark = load_benchmark(prepare_benchmark(_benchmark_source(plan, storage), storage / DATA))
    whole = _whole_panel(plan, benchmark)
    panel, tasks = searched_panel(plan, whole), planned_tasks(plan, whole)
    rows = _checked_rows(plan, benchmark, tasks, space, folder, storage)
    # Embedded models and data go by name, for their path differs between nodes and checkouts.
    # A model of the hub goes by its fetched commit, which each node fetches itself.
    model = plan.model if plan.model in embedded_names() else pinned_name(plan.model, folder)
    data = plan.benchmark if plan.benchmark in EMBEDDED else str(benchmark.file)
    resolved = ResolvedPlan(
        plan=dataclasses.replace(
            plan, strategies=strategies, model=model, benchmark=data, text_encoder=encoder
        ),
        run=storage / (name or f"{plan.plan}-{datetime.datetime.now():%Y%m%d-%H%M%S}"),
        model_folder=folder,
        worker_spec=WorkerSpec(model, data, storage / STAGES, text_encoder=encoder),
        fingerprints=Fingerprints(
            model=model_fingerprint(folder),
            tasks={task: benchmark.tasks[task].fingerprint() for task in tasks},
            seed=plan.seed,
            workers=plan.workers_per_trial,
            text_encoder=text_encoder_fingerprint(encoder),
        ),
        panel=panel,
        whole_panel=whole,
        space=space,
        benchmark=benchmark,
        rows=rows,
        resumed=resume,
    )
    if not resume and (resolved.run / PLAN_FILE).exists():
        raise InputError(
            f'the name of a search must be new, and "{resolved.run}" is there: '
            f"--resume --name {resolved.run.name} continues it, another --name starts anew"
        )
    return resolved


def _space(plan: SearchPlan, strategies: tuple[str, ...]) -> ConfigSpace:
    """Return the space, after the checks that need no model."""
    fixed = {"training": plan.training, "adapter": plan.adapter}
    space = config_space(strategies, fixed, plan.space)
    check_batches(space, plan.workers_per_trial)
    check_training(space)
    check_experts(space)
    return space


def _model_folder(plan: SearchPlan, space: ConfigSpace) -> Path:
    """Return the folder of the model, which must have all parts that the space's adapters train."""
    folder = model_folder(plan.model)
    check_weights(folder)
    for adapter in space.adapters():
        check_parts(folder_family(folder), adapter)
    return folder


def _checked_rows(
    plan: SearchPlan,
    benchmark: Benchmark,
    tasks: Sequence[str],
    space: ConfigSpace,
    folder: Path,
    storage: Path,
) -> RowReport:
    """Check every row of the tasks; pictures that were decoded before are not again."""
    requirements = row_requirements(
        folder, space.adapters_by_user(), plan.workers_per_trial, space.values("training", "zero")
    )
    known = storage / DATA / KNOWN
    report = check_rows(benchmark, tasks, requirements=requirements, known=known)
    report.raise_if_broken()
    return report


def _text_encoder(plan: SearchPlan) -> str:
    """Return the absolute folder of the sentence encoder, after a test; empty if there is none."""
    if not plan.text_encoder:
        return ""
    from models.text_encoder import try_text_encoder  # imports transformers

    try_text_encoder(folder := Path(plan.text_encoder).expanduser().resolve())
    return str(folder)


def _whole_panel(plan: SearchPlan, benchmark: Benchmark) -> Panel:
    """Return the panel of whole orderings: of the searched tasks, with the initial and general ones."""
    tasks = searched_tasks(plan, benchmark)
    initial = initial_tasks(plan, benchmark, (*tasks, *plan.held_out_tasks))
    general = general_tasks(plan, benchmark, tasks, initial)
    check_held_out(plan, general)
    return Panel(
        tuple(o.tasks for o in parse_orderings(plan.orderings, tasks)),
        scoring=plan.scoring,
        initial=initial,
        initial_state="known" if plan.initial == "known" else "trained",
        general=general,
    )


def _benchmark_source(plan: SearchPlan, storage: Path) -> str | Path:
    """Return the plan's benchmark; a preset is first written to the storage, with its data's path."""
    if plan.benchmark not in PRESETS:
        return plan.benchmark
    return write_preset(plan.benchmark, data_folder(plan.data), storage / PRESET_FOLDER)


def resumed_plan(run: Path) -> SearchPlan:
    """Return the plan of a search that was begun; raises `InputError` if there is none."""
    if not (run / PLAN_FILE).is_file():
        raise InputError(f'there must be a search to resume in "{run}", and no plan is there')
    return read_saved_plan(run).plan


def check_unchanged(resolved: ResolvedPlan) -> None:
    """Raise `InputError` if the model, data or code are not those that the search began with."""
    saved, now = read_saved_plan(resolved.run), record_plan(resolved)
    old_encoder, new_encoder = saved.text_encoder.fingerprint, now.text_encoder.fingerprint
    if saved.fingerprints != now.fingerprints or old_encoder != new_encoder:
        raise InputError(
            "a search is resumed on the model, data and text encoder it began with; those of "
            f'"{resolved.run.name}" '
            "have changed since: put them back, or start anew with another --name"
        )
    if saved.code != now.code:
        raise InputError(
            f"a search is resumed with the code and library versions it began with; those of "
            f'"{resolved.run.name}" have changed since: put them back, or start anew with another --name'
        )
