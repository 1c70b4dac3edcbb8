"""Which walks show what: winners' finals, finetune from elsewhere and slower, tir's controls, pairs."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.claims.presets import Preset, winners
from benchmarks.claims.runs import Job, runner
from search.results.outcome import read_outcome
from spaces.files import write_atomically
from strategies.similarity import SIGNALS, combine_signals, similarities
from strategies.strategy import StageContext
from trainables.panel import Panel
from trainables.stage_job import StageJob
from trainables.store.stage_keys import base_key, embedding_key
from trainables.store.stage_store import StageStore

FINALS = "finals"
"""Folder of the results, beside the searches."""
ALIGNED = "finetune_other_start"
"""Finetune on the second preset's tasks from the first one's start: the second claim."""
RATES = (7e-4, 2e-3)
"""Learning rates below the presets' own at which the second claim is looked at, too."""
INFORMED = {"tir_as_strong": "none", "tir_as_strong_random": "random"}
"""tir with the importances and strength of the better of ewc and mas; that with random similarities."""
PAIR = "pair_"
"""With the first task's name: finetune on it and then on each other task."""
FIRST = ("finetune", "joint")
"""Made first: the first stages of finetune are those of many strategies."""


def finals(preset: Preset, seeds: Iterable[int], work: Path) -> list[Job]:
    """Each strategy's winner at each seed on the held-out orderings, scored on the test split."""
    found = winners(preset.folder)
    names = [*(n for n in FIRST if n in found), *(n for n in found if n not in FIRST)]
    panels = _panels(preset.resolved.panel, preset.held_out)
    return [_job(preset, name, found[name], panels, seed, work) for seed in seeds for name in names]


def other_start(first: Preset, second: Preset, seeds: Iterable[int], work: Path) -> list[Job]:
    """Finetune on the second preset's tasks, orderings and seeds from the first preset's start."""
    config = winners(second.folder)["finetune"]
    panel = dataclasses.replace(second.resolved.panel, initial=())
    panels = _panels(panel, second.held_out)
    jobs = [_job(second, ALIGNED, config, panels, seed, work) for seed in seeds]
    model, print_ = first.resolved.worker_spec.model, first.resolved.fingerprints.model
    return [
        dataclasses.replace(
            job,
            worker_spec=dataclasses.replace(job.worker_spec, model=model),
            fingerprints=dataclasses.replace(job.fingerprints, model=print_),
        )
        for job in jobs
    ]


def at_rate(name: str, rate: float) -> str:
    """What finetune from either start is called at another learning rate."""
    return f"{name}@{rate:g}"


def rates(first: Preset, second: Preset, seeds: Sequence[int], work: Path) -> list[Job]:
    """Finetune from both starts as the second claim compares them, at smaller learning rates."""
    own = [job for job in finals(second, seeds, work) if job.name == "finetune"]
    jobs = []
    for rate in RATES:
        for job in [*other_start(first, second, seeds, work), *own]:
            training = {**job.config["training"], "learning_rate": rate}
            config = {**job.config, "training": training}
            jobs.append(dataclasses.replace(job, name=at_rate(job.name, rate), config=config))
    return jobs


def informed(preset: Preset, seeds: Sequence[int], work: Path) -> list[Job]:
    """The fifth claim, all but similarity alike: tir with the importances and strength of ewc or mas."""
    found = winners(preset.folder)
    rows = read_outcome(preset.folder).strategies
    metric = preset.resolved.plan.directions()[0][0]
    best = max(("ewc", "mas"), key=lambda n: rows[n][metric] if n in found else -math.inf)
    if best not in found or "tir" not in found:
        return []
    own = {"importances": best, "strength": found[best]["strategy"]["strength"]}
    jobs = []
    for job in finals(preset, seeds, work):
        for name, control in INFORMED.items() if job.name == "tir" else ():
            strategy = {**job.config["strategy"], **own, "control": control}
            config = {**job.config, "strategy": strategy}
            jobs.append(dataclasses.replace(job, name=name, config=config))
    return jobs


def pairs(preset: Preset, work: Path) -> list[Job]:
    """Finetune on every ordered pair of tasks, one job for each first task, at the search's seed."""
    config, panel = winners(preset.folder)["finetune"], preset.resolved.panel
    # Tasks that the model knows already change nothing here, and need not be scored.
    panel = dataclasses.replace(panel, initial=panel.first)
    jobs = []
    for task in panel.tasks:
        orderings = [pair for pair in itertools.permutations(panel.tasks, 2) if pair[0] == task]
        seed, panels = preset.resolved.plan.seed, _panels(panel, orderings)
        jobs.append(_job(preset, f"{PAIR}{task}", config, panels, seed, work))
    return jobs


def _job(
    preset: Preset,
    name: str,
    config: dict[str, Any],
    panels: tuple[Panel, ...],
    seed: int,
    work: Path,
) -> Job:
    return Job(
        preset=preset.name,
        name=name,
        config=config,
        panels=panels,
        worker_spec=preset.resolved.worker_spec,
        fingerprints=dataclasses.replace(preset.resolved.fingerprints, seed=seed),
        folder=work / FINALS,
    )


def _panels(panel: Panel, orderings: Sequence[tuple[str, ...]]) -> tuple[Panel, ...]:
    return tuple(dataclasses.replace(panel, orderings=(o,), split="test") for o in orderings)


def wanted_file(work: Path, preset: str) -> Path:
    """Where it is written which results belong to a preset; others are of earlier winners or flags."""
    return work / FINALS / f"{preset}-wanted.json"


def write_wanted(work: Path, preset: str, identities: Mapping[str, str]) -> None:
    """Say which results belong to a preset, before they are made: what each is to come from, by file."""
    (work / FINALS).mkdir(parents=True, exist_ok=True)
    write_atomically(wanted_file(work, preset), json.dumps(dict(identities), indent=1))


# Similarity --------------------------------------------------------------------------------------


def similarity_file(work: Path, preset: str) -> Path:
    """Where the similarities of a preset's tasks are written."""
    return work / FINALS / f"{preset}-similarity.json"


def write_similarity(preset: Preset, work: Path) -> None:
    """By modality, and their product: of every task to every other, standardised over all pairs."""
    tasks, worker_spec, fingerprints = (
        preset.resolved.panel.tasks,
        preset.resolved.worker_spec,
        preset.resolved.fingerprints,
    )
    store = StageStore(worker_spec.store)
    config = preset.resolved.space.reference("finetune")
    keys = {task: embedding_key(fingerprints, config, task) for task in tasks}
    lacking = tuple((task, key) for task, key in keys.items() if not store.has(key))
    if lacking:
        base = base_key(fingerprints, config)
        start = StageJob(
            config.to_dict(),
            base,
            base,
            base,
            0,
            StageContext(()),
            seed=fingerprints.seed,
            embed=lacking,
        )
        runner(worker_spec).run(start)
    signatures = {task: store.tensors(key) for task, key in keys.items()}
    found = {}
    for task in tasks:
        others = [other for other in tasks if other != task]
        by = similarities(signatures[task], [signatures[other] for other in others])
        by = by | {SIGNALS[0]: tuple(combine_signals(by, SIGNALS[0]))}
        found[task] = {name: dict(zip(others, v, strict=True)) for name, v in by.items()}
    write_atomically(similarity_file(work, preset.name), json.dumps(found, indent=1))
