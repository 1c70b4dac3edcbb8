"""A runner that trains nothing, for tests of what a trial asks for and makes of the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from strategies.similarity import MODALITIES, Signature
from trainables.config import TrialConfig
from trainables.job import Setting, StageJob
from trainables.lineage import Lineage
from trainables.panel import Panel, Prefix
from trainables.stages import StageStore
from trainables.walk import Walk

TASKS = ("a", "b", "c", "d")
SETTING = Setting(model="m", tasks={t: f"data of {t}" for t in TASKS}, seed=0, workers=1)


@dataclass
class Scribe:
    """Writes the records that a lane would write.

    The score of a task falls by a tenth with every task learned since; unseen tasks have 0.1.
    """

    store: StageStore
    signatures: Mapping[str, Signature] = field(default_factory=dict)
    """By task; what its examples are alike in."""
    jobs: list[StageJob] = field(default_factory=list)
    slow: int = 0
    """How often it is asked before it is ready."""
    asked: int = 0

    def run(self, job: StageJob) -> Mapping[str, float]:
        assert not (job.train and self.store.has(job.key)), "trained twice"
        self.jobs.append(job)
        for task, key in job.sign:
            self.store.put(key, {"kind": "signature"}, dict(self.signatures[task]))
        if job.train:
            self.store.put(job.key, {"kind": "trained", "seconds": 2.0})
        ages = {task: age for age, task in enumerate(reversed([*job.standing.old, *job.tasks]))}
        for task, split, key in job.score:
            score = 0.9 - 0.1 * ages[task] if task in ages else 0.1
            self.store.put(key, {"kind": "scored", "split": split, "score": score})
        for _, key in job.keep:
            self.store.put(key, {"kind": "kept"}, {"kept": torch.zeros(1)})
        return {"train": 2.0}

    def ready(self) -> bool:
        self.asked += 1
        return self.asked > self.slow

    @property
    def trained(self) -> list[tuple[str, ...]]:
        """The stages trained: the tasks before each, and its own joined by +."""
        return [(*job.standing.old, "+".join(job.tasks)) for job in self.jobs if job.train]


def walk(chosen: TrialConfig, scribe: Scribe, panel: Panel, setting: Setting = SETTING) -> Walk:
    """A configuration walked to its end."""
    found = Walk(chosen, panel, setting, scribe.store, scribe)
    while not found.finished:
        found.step()
    return found


def alike(image: Sequence[float]) -> Signature:
    """A task's signature whose modalities are all the same, brought to length 1."""
    vector = torch.nn.functional.normalize(torch.tensor(image), dim=0)
    return {name: vector.clone() for name in MODALITIES}


def path(written: str) -> Prefix:
    """`a>b+c` as a path."""
    return tuple(tuple(group.split("+")) for group in written.split(">")) if written else ()


def lineage(
    chosen: TrialConfig, scribe: Scribe, panel: Panel, setting: Setting = SETTING
) -> Lineage:
    """The stages of a configuration whose signatures have been made."""
    found = Lineage(chosen, panel, setting, scribe.store)
    for task, key in found.signed():
        scribe.store.put(key, {"kind": "signature"}, dict(scribe.signatures[task]))
    return found
