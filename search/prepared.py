"""A plan checked against the world: every mistake in it stops here, before any worker starts."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.family import check_parts
from models.location import embedded_names, folder_family, model_fingerprint, model_folder, pinned
from models.text_encoder import text_encoder_fingerprint
from search.checks import (
    DATA,
    REFERENCES,
    STAGES,
    check_batches,
    check_experts,
    check_model_named,
    check_objectives,
    check_place,
    check_training,
    demands_of,
    initial_tasks,
    searched_strategies,
)
from search.plans import SearchPlan, amended
from search.space import ConfigSpace, config_space
from spaces import InputError
from tasks import (
    EMBEDDED,
    SPLITS,
    Benchmark,
    check_rows,
    load_benchmark,
    parse_orderings,
    scale_note,
)
from tasks.presets import PRESETS, data_root, placed
from tasks.raw_benchmark import convert_benchmark
from tasks.shards import MANIFEST, read_manifest
from trainables.job import Place, Setting, strategy_code
from trainables.panel import Panel
from trainables.stages import StageStore

PLACED = ".presets"
"""Folder in the storage; no search can be called so."""


if TYPE_CHECKING:  # they import transformers, and --help answers at once
    from search.memory import Rehearsal
    from trainables.walk import Walk


RACED = 3
"""Orderings that racing needs."""


@dataclass(frozen=True)
class Prepared:
    """A plan with everything that it names found, read and checked."""

    plan: SearchPlan
    run: Path
    folder: Path
    """Of the model."""
    place: Place
    setting: Setting
    panel: Panel
    space: ConfigSpace
    benchmark: Benchmark
    resumed: bool

    @functools.cached_property
    def rehearsal(self) -> Rehearsal:
        """The longest examples as the model's processor makes them: its faults show here."""
        from search.memory import rehearsal

        tasks = [self.benchmark.task(name) for name in self.all_tasks]
        return rehearsal(self.folder, tasks, self.space.reference("finetune").training)

    @functools.cached_property
    def memory(self) -> dict[str, int]:
        """Bytes of one rank at its peak, by what takes them: of the configuration that needs most."""
        from search.memory import rank_memory

        found = [
            rank_memory(self.rehearsal, adapter, training, self.plan.workers_per_trial)
            for adapter, training in self.space.largest()
        ]
        return max(found, key=lambda parts: sum(parts.values()))

    @functools.cached_property
    def seen_bytes(self) -> int:
        """About the bytes of what the frozen vision tower sees of all examples."""
        return self.rehearsal.seen_bytes(self.space.reference("finetune").training)

    def counts(self, name: str) -> str:
        """A task's examples in each split, and the rows that were left out of its data."""
        task = self.benchmark.task(name)
        each = "/".join(str(len(task.examples(split))) for split in SPLITS)
        folder = task.split_files("train")[0].parent
        broken = read_manifest(folder)["rows"]["rejected"] if (folder / MANIFEST).is_file() else 0
        return f"{name} {each}" + (f", {broken} broken rows left out" if broken else "")

    @property
    def references(self) -> tuple[str, ...]:
        return REFERENCES

    def stages(self, strategy: str) -> int:
        """Distinct stages that one configuration of `strategy` walks through."""
        return len(self.panel.paths(self.space.reference(strategy)))

    @property
    def all_tasks(self) -> tuple[str, ...]:
        """The tasks of the orderings, and those learned before."""
        return (*self.panel.tasks, *self.panel.initial)

    def cautions(self) -> list[str]:
        """What a user should know of the strategies' starting points on these tasks."""
        tasks = self.all_tasks
        sizes = {task: len(self.benchmark.task(task).examples("train")) for task in tasks}
        found = [self.space.reference(n).strategy.caution(sizes) for n in self.plan.strategies]
        known = len(self.plan.strategies)
        if self.plan.samples < known:
            found.append(
                f"{self.plan.samples} samples cannot try each of {known} strategies; --samples "
                f"{known} would"
            )
        note = scale_note({task: self.benchmark.task(task).metric for task in tasks})
        if self.plan.stopping == "racing" and len(self.panel.orderings) < RACED:
            found.append(
                f"racing compares trials after each ordering but the first and the last: it needs {RACED} "
                f"to stop any, and there are {len(self.panel.orderings)}; --stopping asha would do"
            )
        if self.plan.scoring == "cheap" and self.plan.stopping != "none":
            found.append(
                "with cheap scoring, trials are compared in mid-ordering by what they just learned, and "
                "by what they forget only at its end; scoring: seen or --stopping none would do"
            )
        return [caution for caution in [*found, note, *self.rehearsal.notes()] if caution]

    def configured_stages(self) -> int:
        """Stages of all trials if every one walked every ordering for itself."""
        sampled = sum(len(o) for o in self.panel.orderings) * self.plan.samples
        return sampled + sum(
            len(self.space.reference(r).strategy.curriculum(o))
            for r in REFERENCES
            for o in self.panel.orderings
        )

    def known_stages(self) -> int:
        """Stages of the reference trials, and so of others' beginnings, that the store has."""
        store = StageStore(self.place.store)
        return sum(store.has(key) for key in set().union(*map(self.keys, REFERENCES)))

    def distinct_stages(self) -> int:
        """Stages that differ, at the most: shared prefixes once, first stages once."""
        keys = set().union(*map(self.keys, REFERENCES))
        # Where there are tasks before the first stage, strategies act on it already.
        firsts = 0 if self.panel.initial else len({o[0] for o in self.panel.orderings})
        alike = {self.space.reference(n).shared for n in ("finetune", *self.plan.strategies)}
        apart = any(self.space.open[p] for p in ("training", "adapter")) or len(alike) > 1
        # Trials that train otherwise train the initial tasks otherwise, too.
        own = int(bool(self.panel.first)) if apart else -firsts
        longest = max(self.stages(name) for name in self.plan.strategies)
        return len(keys) + self.plan.samples * (longest + own)

    def most_stages(self) -> int:
        """Those of them that are trained at the most: what the references need may be there already."""
        return self.distinct_stages() - self.known_stages()

    def keys(self, strategy: str) -> set[str]:
        """Keys of the stages of a reference trial."""
        walk = self.walk(strategy)
        before = [()] if self.panel.first else []
        return {walk.key(path) for path in [*before, *walk.paths]}

    def walk(self, strategy: str) -> Walk:
        """A strategy with its published knobs at the start of its way: to be counted, not to be walked."""
        from trainables.walk import Walk

        config, store = self.space.reference(strategy), StageStore(self.place.store)
        return Walk(config, self.panel, self.setting, store, _NoRunner())

    def code(self) -> dict[str, str]:
        """Fingerprints of the code that the trials of each strategy come from."""
        return {name: strategy_code(name) for name in (*self.references, *self.plan.strategies)}

    def to_dict(self) -> dict[str, Any]:
        """What `plan.json` holds: enough to resume, to report, and to train the best again."""
        return {
            "name": self.run.name,
            "plan": self.plan.plan,
            "fields": dataclasses.asdict(self.plan),
            "objectives": self.plan.directions(),
            "panel": dataclasses.asdict(self.panel),
            "references": REFERENCES,
            "seed": self.plan.seed,
            "model": {"name": self.plan.model, "path": str(self.folder)},
            "benchmark": {"name": self.plan.benchmark, "path": str(self.benchmark.file)},
            "fingerprints": {"model": self.setting.model, "tasks": dict(self.setting.tasks)},
            "code": self.code(),
            "text_encoder": {"path": self.place.text_encoder, "print": self.setting.text_encoder},
            "metrics": {t: self.benchmark.task(t).metric for t in self.all_tasks},
            "strategies": self.plan.strategies,
            "samples": self.plan.samples,
            "stages_configured": self.configured_stages(),
            "stages_distinct": self.distinct_stages(),
        }


class _NoRunner:
    def run(self, job: object) -> Mapping[str, float]:
        raise AssertionError("a plan is only counted, never run")


def prepare(plan: SearchPlan, name: str | None, storage: Path, resume: bool) -> Prepared:
    """Check a plan; raises `InputError` for the first thing that does not hold."""
    storage = storage.expanduser().resolve()
    check_place(name, storage)
    strategies = searched_strategies(plan)
    check_model_named(plan)
    space = config_space(
        strategies, {"training": plan.training, "adapter": plan.adapter}, plan.space
    )
    check_batches(space, plan.workers_per_trial)
    folder = model_folder(plan.model)
    check_training(space)
    check_experts(space)
    encoder = _text_encoder(plan)
    for adapter in space.adapters():
        check_parts(folder_family(folder), adapter)
    # Raw data are converted once; a search begun on them is resumed on what was made of them.
    benchmark = load_benchmark(convert_benchmark(_located(plan, storage), storage / DATA))
    panel = _panel(plan, benchmark)
    every = (*panel.tasks, *panel.initial)
    check_objectives(plan, panel)
    demands = demands_of(
        folder, space.adapters(), plan.workers_per_trial, space.values("training", "zero")
    )
    check_rows(benchmark, every, demands=demands).raise_if_broken()
    # Embedded ones by name: on other nodes, and in other checkouts, they lie elsewhere.
    # One of the hub by the commit that was fetched, from which each node fetches it.
    model = plan.model if plan.model in embedded_names() else pinned(plan.model, folder)
    data = plan.benchmark if plan.benchmark in EMBEDDED else str(benchmark.file)
    prepared = Prepared(
        plan=dataclasses.replace(
            plan, strategies=strategies, model=model, benchmark=data, text_encoder=encoder
        ),
        run=storage / (name or f"{plan.plan}-{datetime.datetime.now():%Y%m%d-%H%M%S}"),
        folder=folder,
        place=Place(model, data, storage / STAGES, plan.seed, text_encoder=encoder),
        setting=Setting(
            model=model_fingerprint(folder),
            tasks={task: benchmark.tasks[task].fingerprint() for task in every},
            seed=plan.seed,
            workers=plan.workers_per_trial,
            text_encoder=text_encoder_fingerprint(encoder),
        ),
        panel=panel,
        space=space,
        benchmark=benchmark,
        resumed=resume,
    )
    if not resume and (prepared.run / "plan.json").exists():
        raise InputError(
            f'the name of a search must be new, and "{prepared.run}" is there: '
            f"--resume --name {prepared.run.name} goes on with it, another --name starts anew"
        )
    return prepared


def _text_encoder(plan: SearchPlan) -> str:
    """The folder of the sentence encoder, as all nodes see it; empty if there is none."""
    if not plan.text_encoder:
        return ""
    from models.text_encoder import try_text_encoder  # imports transformers

    try_text_encoder(folder := Path(plan.text_encoder).expanduser().resolve())
    return str(folder)


def _panel(plan: SearchPlan, benchmark: Benchmark) -> Panel:
    """The orderings of the tasks asked for, and the tasks learned before them."""
    tasks = plan.tasks or benchmark.order
    for task in tasks:
        benchmark.task(task)
    if len(set(tasks)) != len(tasks):
        raise InputError(f"tasks must differ, got {', '.join(tasks)}")
    return Panel(
        tuple(o.tasks for o in parse_orderings(plan.orderings, tasks)),
        scoring=plan.scoring,
        initial=initial_tasks(plan, benchmark, tasks),
        learnt="known" if plan.initial == "known" else "trained",
    )


def _located(plan: SearchPlan, storage: Path) -> str | Path:
    """The benchmark; a preset is written down with its data's place, where all nodes see it."""
    if plan.benchmark not in PRESETS:
        return plan.benchmark
    return placed(plan.benchmark, data_root(plan.data), storage / PLACED)


def saved_plan(run: Path) -> SearchPlan:
    """The plan of a search that was begun; raises `InputError` if there is none."""
    try:
        saved = json.loads((run / "plan.json").read_text())["fields"]
    except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise InputError(
            f'there must be a search to resume in "{run}", and no plan is there'
        ) from error
    name = saved.pop("plan")
    values = {k: v for k, v in saved.items() if v is not None}
    return amended(SearchPlan(plan=name), values, str(run / "plan.json"))


def check_unchanged(prepared: Prepared) -> None:
    """Raise `InputError` if the model or the data are not those that the search began with."""
    saved = json.loads((prepared.run / "plan.json").read_text())
    now = prepared.to_dict()
    encoders = [plan.get("text_encoder", {}).get("print", "") for plan in (saved, now)]
    if saved["fingerprints"] != now["fingerprints"] or encoders[0] != encoders[1]:
        raise InputError(
            "a search is resumed on the model, data and text encoder it began with; those of "
            f'"{prepared.run.name}" '
            "have changed since: put them back, or start anew with another --name"
        )
    if saved.get("code") != now["code"]:
        raise InputError(
            f"a search is resumed with the code and library versions it began with; those of "
            f'"{prepared.run.name}" have changed since: put them back, or start anew with another --name'
        )
