"""Trials of strategies on the toy benchmark, trained once for all tests of a session."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path

from spaces.domains import Value
from strategies import Finetune, Strategy
from trainables.config import TrialConfig
from trainables.lanes.in_process import InProcessRunner
from trainables.store.stage_store import StageStore
from trainables.testing.toy import Toy, config, walked
from trainables.testing.toy_benchmark import write_llava, write_toy_benchmark
from trainables.trial import PanelTrial

ORDERINGS = (("hue", "light"), ("light", "hue"))
"""Task orders of every trial."""
WHOLE = {"last_batch": "drop"}
"""Only whole batches: first and last loss are compared, and that of a few examples says little."""


class ToyTrials:
    """Trained trials, by configuration, and a worker that has served others before."""

    def __init__(self, toy: Toy, root: Path) -> None:
        self.toy = toy
        self.root = root
        self._trained: dict[str, PanelTrial] = {}
        self._runner: InProcessRunner | None = None

    def trained(self, strategy: type[Strategy], knobs: Mapping[str, Value]) -> PanelTrial:
        """Return a strategy's trial over both orders, in a store of its own."""
        name = f"{strategy.__module__}.{strategy.name} {dict(knobs)}"
        if name not in self._trained:
            store = self.root / f"{len(self._trained)}-{strategy.name}"
            trial = self.toy.walk(self.config(strategy, knobs), store, *ORDERINGS)
            self._trained[name] = walked(trial)
        return self._trained[name]

    def finetuned(self) -> PanelTrial:
        """Return finetune's trial of one epoch over the first order."""
        if "brief" not in self._trained:
            self._trained["brief"] = walked(
                self.toy.walk(config(epochs=1, **WHOLE), self.root / "brief")
            )
        return self._trained["brief"]

    def config(
        self, strategy: type[Strategy], knobs: Mapping[str, Value], **training: object
    ) -> TrialConfig:
        """Return the toy's configuration of a strategy."""
        return config({"name": strategy.name, **knobs}, **{**WHOLE, **training})

    def used_runner(self, store: Path) -> InProcessRunner:
        """Return a worker that has trained other stages, with ZeRO 2 and 3, for stages in `store`."""
        if self._runner is None:
            root = self.root / "served"
            self._runner = InProcessRunner(self.toy.worker_spec(root))
            for zero in (2, 3):
                chosen = config({"name": "ewc", "importance_batch": 12}, epochs=1, zero=zero)
                walked(self.toy.walk(chosen, root, runner=self._runner))
        context = self._runner.worker.rank_context
        context.spec = dataclasses.replace(context.spec, store=store)
        context.store = StageStore(store)
        return self._runner


def without_strategy(chosen: TrialConfig) -> TrialConfig:
    """Return finetune with the shared knobs of another strategy's configuration."""
    return dataclasses.replace(chosen, strategy=Finetune())


@functools.cache
def toy_trials(root: Path) -> ToyTrials:
    """Return the trials below a folder, the same ones for every caller."""
    toy = Toy(write_toy_benchmark(root / "benchmark"), write_llava(root / "llava"))
    return ToyTrials(toy, root)
