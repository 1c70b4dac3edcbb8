"""Memory of a rank, estimated from the model and the longest examples of the benchmark."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from models.memory_estimate import CPU, GPU, estimate_bytes
from search.plan.resolved_plan import ResolvedPlan
from search.resources.processor_probe import ProcessorProbe, probe_processor
from spaces import Adapter, Training


@dataclass(frozen=True)
class MemoryNeeds:
    """Memory that a search needs, and the probe of the processor that it is estimated from."""

    probe: ProcessorProbe
    rank: Mapping[str, int]
    """Bytes of one rank at its peak, by part, of the configuration that needs most."""
    features: int
    """Bytes of the frozen vision tower's features of all examples, about."""

    @property
    def rank_bytes(self) -> int:
        """Bytes of one rank at its peak."""
        return sum(self.rank.values())


def memory_needs(resolved: ResolvedPlan) -> MemoryNeeds:
    """Estimate a plan's memory from a probe of its processor; raises `InputError` if that fails."""
    tasks = [resolved.benchmark.task(name) for name in resolved.tasks]
    probe = probe_processor(resolved.model_folder, tasks, resolved.finetune.training)
    ranks = [
        rank_memory(probe, adapter, training, resolved.plan.workers_per_trial)
        for adapter, training in resolved.space.largest()
    ]
    largest = max(ranks, key=lambda parts: sum(parts.values()))
    return MemoryNeeds(probe, largest, probe.feature_bytes(resolved.finetune.training))


def rank_memory(
    probe: ProcessorProbe, adapter: Adapter, training: Training, workers: int
) -> dict[str, int]:
    """Return the bytes of one rank at its peak by part, on a GPU if this machine has one."""
    machine = GPU if torch.cuda.is_available() else CPU
    sizes = probe.sizes(training)
    shared = dataclasses.replace(sizes, scored=-(-sizes.scored // workers))
    return estimate_bytes(probe.folder, adapter, training, workers, shared, machine)
