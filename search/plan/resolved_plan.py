"""A search plan with everything that it names found, read and checked: data alone."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from search.plan.protocol import planned_tasks
from search.plan.reference_runs import reference_runs
from search.plan.search_plan import SearchPlan
from search.plan.space import ConfigSpace
from spaces.references import FLOOR
from tasks import Benchmark, RowReport
from trainables.config import TrialConfig
from trainables.panel import Panel
from trainables.stage_job import Fingerprints, WorkerSpec
from trainables.store.stage_store import StageStore

if TYPE_CHECKING:  # it imports torch, and some plans are only printed
    from trainables.trial import PanelTrial


@dataclass(frozen=True)
class ResolvedPlan:
    """A plan and what it resolves to: model, data, space, panel and worker."""

    plan: SearchPlan
    run: Path
    """The search's folder."""
    model_folder: Path
    worker_spec: WorkerSpec
    fingerprints: Fingerprints
    panel: Panel
    """The panel that every trial of the search is walked through."""
    whole_panel: Panel
    """The panel of whole orderings: that of the search, unless it trains first stages alone."""
    space: ConfigSpace
    benchmark: Benchmark
    rows: RowReport
    """Result of the check of every row, with notes about the data."""
    resumed: bool

    @property
    def finetune(self) -> TrialConfig:
        """The configuration of plain tuning under the plan's fixed values."""
        return self.space.reference(FLOOR)

    @functools.cached_property
    def references(self) -> Mapping[str, TrialConfig]:
        """Configurations of the reference runs, by name."""
        return reference_runs(self.plan, self.space)

    @property
    def trials(self) -> int:
        """Number of trials: samples and reference runs."""
        return self.plan.samples + len(self.references)

    @property
    def tasks(self) -> tuple[str, ...]:
        """All tasks that the search or its confirmation trains or scores."""
        return planned_tasks(self.plan, self.whole_panel)

    def with_worker(self, **changes: object) -> ResolvedPlan:
        """Return the plan with some fields of its worker specification replaced."""
        spec = dataclasses.replace(self.worker_spec, **changes)  # type: ignore[arg-type]
        return dataclasses.replace(self, worker_spec=spec)

    def new_trial(self, config: TrialConfig) -> PanelTrial:
        """Return a trial that has done no stage, and that may only use stages of the store."""
        from trainables.trial import PanelTrial

        store = StageStore(self.worker_spec.store)
        return PanelTrial(config, self.panel, self.fingerprints, store, _NoRunner())


class _NoRunner:
    def run(self, job: object) -> Mapping[str, float]:
        raise AssertionError("a plan trains nothing")

    def ready(self) -> bool:
        return True
