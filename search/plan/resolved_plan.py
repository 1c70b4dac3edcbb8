"""A plan with what it names at hand, and what is known of its cost before any worker starts."""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.plan.checks import REFERENCES
from search.plan.search_plan import SearchPlan
from search.plan.space import ConfigSpace
from tasks import SPLITS, Benchmark, scale_note
from tasks.data.manifest import MANIFEST, read_manifest
from trainables.config import TrialConfig
from trainables.panel import Panel
from trainables.stage_job import Fingerprints, WorkerSpec
from trainables.store.code_fingerprint import strategy_code
from trainables.store.digest import digest
from trainables.store.stage_store import StageStore

if TYPE_CHECKING:  # they import transformers, and --help answers at once
    from search.resources.rank_memory import ProcessorProbe
    from search.tuning.prior_run import PriorRun
    from trainables.trial import PanelTrial


SEARCH_CODE = (
    *("tuning/searcher.py", "tuning/define_by_run.py", "tuning/stage_scheduler.py"),
    *("tuning/stopping.py", "tuning/rung_score.py"),
    "plan/space.py",
)
RACED = 3
"""Orderings that racing needs."""


@dataclass(frozen=True)
class ResolvedPlan:
    """A plan with everything that it names found, read and checked."""

    plan: SearchPlan
    run: Path
    model_folder: Path
    """Of the model."""
    worker_spec: WorkerSpec
    fingerprints: Fingerprints
    panel: Panel
    space: ConfigSpace
    benchmark: Benchmark
    resumed: bool

    @functools.cached_property
    def processor_probe(self) -> ProcessorProbe:
        """The longest examples as the model's processor makes them: its faults show here."""
        from search.resources.rank_memory import probe_processor

        tasks = [self.benchmark.task(name) for name in self.all_tasks]
        return probe_processor(self.model_folder, tasks, self.space.reference("finetune").training)

    @functools.cached_property
    def memory(self) -> dict[str, int]:
        """Bytes of one rank at its peak, by what takes them: of the configuration that needs most."""
        from search.resources.rank_memory import rank_memory

        found = [
            rank_memory(self.processor_probe, adapter, training, self.plan.workers_per_trial)
            for adapter, training in self.space.largest()
        ]
        return max(found, key=lambda parts: sum(parts.values()))

    @functools.cached_property
    def feature_bytes(self) -> int:
        """About the bytes of what the frozen vision tower sees of all examples."""
        return self.processor_probe.feature_bytes(self.space.reference("finetune").training)

    def counts(self, name: str) -> str:
        """A task's examples in each split, and the rows that were left out of its data."""
        task = self.benchmark.task(name)
        each = "/".join(str(len(task.examples(split))) for split in SPLITS)
        folder = task.split_files("train")[0].parent
        broken = read_manifest(folder).rows.rejected if (folder / MANIFEST).is_file() else 0
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
        found = [self.space.reference(n).strategy.warning(sizes) for n in self.plan.strategies]
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
        return [caution for caution in [*found, note, *self.processor_probe.notes()] if caution]

    def configured_stages(self) -> int:
        """Stages of all trials if every one walked every ordering for itself."""
        sampled = sum(len(o) for o in self.panel.orderings) * self.plan.samples
        return sampled + sum(
            len(self.space.reference(r).strategy.curriculum(o))
            for r in REFERENCES
            for o in self.panel.orderings
        )

    def known_stages(self) -> int:
        """Stages of the reference trials, and so of others' beginnings, that the store has.

        If the same plan was searched before, also of what was proposed then.
        """
        store = StageStore(self.worker_spec.store)
        again = self.prior_run.stage_keys if self.prior_run else set()
        return sum(store.has(key) for key in again.union(*map(self.keys, REFERENCES)))

    def distinct_stages(self) -> int:
        """Stages that differ, at the most: shared prefixes once, first stages once."""
        keys = set().union(*map(self.keys, REFERENCES))
        if self.prior_run and self.prior_run.covers(self.plan.samples):
            return len(keys | self.prior_run.stage_keys)
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
        walk = self.new_trial(self.space.reference(strategy))
        before = [()] if self.panel.first else []
        return {walk.key(path) for path in [*before, *walk.paths]}

    def new_trial(self, config: TrialConfig) -> PanelTrial:
        """A configuration at the start of its way: to be counted, or walked as far as the store reaches."""
        from trainables.trial import PanelTrial

        return PanelTrial(
            config, self.panel, self.fingerprints, StageStore(self.worker_spec.store), _NoRunner()
        )

    @functools.cached_property
    def prior_run(self) -> PriorRun | None:
        """An earlier search with the same plan."""
        from search.tuning.prior_run import find_prior_run

        return find_prior_run(self.asked(), self.run)

    def code(self) -> dict[str, str]:
        """Fingerprints of the code that the trials of each strategy come from."""
        return {name: strategy_code(name) for name in (*self.references, *self.plan.strategies)}

    def search_code(self) -> str:
        """A fingerprint of the code that proposes and stops."""
        sources = [(Path(__file__).parents[1] / name).read_text() for name in SEARCH_CODE]
        return digest(importlib.metadata.version("optuna"), *sources)

    def asked(self) -> dict[str, Any]:
        """The plan and what it was found to name."""
        return {
            "name": self.run.name,
            "plan": self.plan.plan,
            "fields": dataclasses.asdict(self.plan),
            "objectives": self.plan.directions(),
            "panel": dataclasses.asdict(self.panel),
            "references": REFERENCES,
            "seed": self.plan.seed,
            "model": {"name": self.plan.model, "path": str(self.model_folder)},
            "benchmark": {"name": self.plan.benchmark, "path": str(self.benchmark.file)},
            "fingerprints": {
                "model": self.fingerprints.model,
                "tasks": dict(self.fingerprints.tasks),
            },
            "code": self.code(),
            "search_code": self.search_code(),
            "text_encoder": {
                "path": self.worker_spec.text_encoder,
                "print": self.fingerprints.text_encoder,
            },
            "metrics": {t: self.benchmark.task(t).metric for t in self.all_tasks},
            "strategies": self.plan.strategies,
            "samples": self.plan.samples,
        }

    def to_dict(self) -> dict[str, Any]:
        """What `plan.json` holds: enough to resume, to report, and to train the best again."""
        return self.asked() | {
            "stages_configured": self.configured_stages(),
            "stages_distinct": self.distinct_stages(),
        }


class _NoRunner:
    def run(self, job: object) -> Mapping[str, float]:
        raise AssertionError("a plan trains nothing")

    def ready(self) -> bool:
        return True
