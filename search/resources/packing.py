"""Packing of lanes: their number, their workers, and each worker's share of a GPU.

A lane trains one trial. Lanes of one worker share a GPU as far as its memory goes. Workers of one lane
never share one, for NCCL needs a GPU for each rank.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from search.plan.checks import check_batches
from search.plan.resolved_plan import ResolvedPlan
from search.plan.search_plan import SearchPlan
from search.resources.processor_probe import ProcessorProbe
from search.resources.rank_memory import rank_memory
from spaces.errors import InputError

USABLE_GPU_MEMORY = 0.9
"""Share of a GPU's memory given to workers; the rest is for CUDA itself and for fragmentation."""


@dataclass(frozen=True)
class Devices:
    """Devices of a machine to train on."""

    cores: int
    free: float
    """Bytes of free memory."""
    gpus: int = 0
    gpu_bytes: float = math.inf
    """Bytes free on the fullest GPU."""


@dataclass(frozen=True)
class Packing:
    """Lanes at once, workers of each, and the share of a GPU that a worker holds: 0 where CPUs train."""

    lanes: int
    workers: int
    share: float = 0.0

    def __str__(self) -> str:
        of_gpu = f", {self.share:g} of a GPU each" if 0 < self.share < 1 else ""
        return f"{self.lanes} at once with {self.workers} workers each{of_gpu}"

    def flags(self) -> str:
        """Return the flags that ask a search for this packing."""
        flags = f"--concurrent {self.lanes} --workers-per-trial {self.workers}"
        return f"{flags} --gpus-per-worker {self.share:g}" if self.share else flags


def this_machine() -> Devices:
    """Return the devices of this machine."""
    import psutil
    import torch

    from search.resources.cluster import own_cpus

    sizes = [torch.cuda.mem_get_info(i)[0] for i in range(torch.cuda.device_count())]
    free = psutil.virtual_memory().available
    return Devices(own_cpus(), free, len(sizes), min(sizes, default=math.inf))


def pack_lanes(plan: SearchPlan, trials: int, rank: int) -> Packing:
    """Return the plan's packing, or the largest that fits ranks of `rank` bytes and so many trials.

    Raises `InputError` if this machine cannot hold it, or not even one lane.
    """
    from search.resources.cluster import check_gpu, check_memory, cluster_address, lanes_that_fit

    machine, workers = this_machine(), plan.workers_per_trial
    # A cluster's memory is on machines that may not even run yet.
    alone = cluster_address() is None
    if machine.gpus and alone:
        check_gpu(rank)
    if plan.gpus_per_worker and alone and not machine.gpus:
        raise InputError(
            "--gpus-per-worker needs a GPU, and this machine has none and is in no cluster; without it "
            "the workers train on CPUs"
        )
    share = gpu_share(
        machine, workers, rank, plan.concurrent or trials, plan.gpus_per_worker, alone
    )
    if alone and share and rank > share * machine.gpu_bytes:
        raise InputError(
            f"a worker needs about {rank / 1e9:.1f} GB, and {share:g} of a GPU with "
            f"{machine.gpu_bytes / 1e9:.1f} GB free is less: --gpus-per-worker 1, fewer lanes or a "
            "smaller micro_batch would do"
        )
    if plan.concurrent is None:
        fit = lanes_on(machine, share) if share else machine.cores
        if not share:
            fit = min(fit, workers * lanes_that_fit(workers, rank))
        return Packing(max(1, min(fit // workers, trials)), workers, share)
    if plan.concurrent < 1:
        raise InputError(f"--concurrent must be at least 1, got {plan.concurrent}")
    lanes = min(plan.concurrent, trials)
    if alone and share:
        check_gpus(machine, lanes * workers, share)
    elif alone:
        check_memory(lanes, workers, rank)
    return Packing(lanes, workers, share)


def gpu_share(
    machine: Devices,
    workers: int,
    rank: float,
    lanes: int,
    asked: float | None = None,
    alone: bool = True,
) -> float:
    """Return each worker's share of a GPU, for `lanes` lanes of ranks of `rank` bytes.

    `asked` wins, for it may mean GPUs of other machines; 0 if there is no GPU. In a cluster (not `alone`)
    GPUs are shared only if asked: lanes that fit together here would never move to other machines.
    """
    if asked is not None:
        return asked
    if not machine.gpus:
        return 0.0
    if workers > 1 or not alone:
        return 1.0
    fit = machine.gpu_bytes * USABLE_GPU_MEMORY // rank if rank else math.inf
    # Each lane prepares its batches on a core.
    wanted = min(fit, machine.cores // machine.gpus, math.ceil(lanes / machine.gpus))
    # Rounded down: three times a third must not exceed the GPU.
    return math.floor(1e4 / max(1, int(wanted))) / 1e4


def check_gpus(machine: Devices, ranks: int, share: float) -> None:
    """Raise `InputError` if the GPUs cannot hold so many workers."""
    fit = lanes_on(machine, share)
    if ranks > fit:
        raise InputError(
            f"{machine.gpus} GPUs hold {fit} workers of {share:g} GPU each, and {ranks} were asked for; "
            "fewer --concurrent, fewer --workers-per-trial or a smaller --gpus-per-worker would do"
        )


def lanes_on(machine: Devices, share: float) -> int:
    """Return the number of workers that the GPUs hold."""
    return max(1, machine.gpus) * int(1 / share)


# Proposing ---------------------------------------------------------------------------------------


def best_packing(
    machine: Devices, trials: int, rank: Callable[[int], float], possible: Iterator[int]
) -> Packing | None:
    """Return the packing that keeps most devices busy; None if a rank fits nowhere.

    `rank` maps a number of workers to the bytes of one rank; `possible` yields the numbers that the
    batches allow, smallest first. Workers of one lane wait for each other at every step, lanes never do.
    So a lane gets a second worker only if one cannot hold the model, or if devices would be idle.
    """
    best: Packing | None = None
    for workers in possible:
        packing = _packing(machine, trials, workers, rank(workers))
        busy = (packing.lanes * workers * (packing.share or 1)) if packing else 0.0
        if packing and (
            best is None or busy > best.lanes * best.workers * (best.share or 1) + 1e-3
        ):
            best = packing
    return best


def _packing(machine: Devices, trials: int, workers: int, rank: float) -> Packing | None:
    devices = machine.gpus or machine.cores
    limit = machine.gpu_bytes * USABLE_GPU_MEMORY if machine.gpus else machine.free / workers
    if rank > limit or workers > devices:
        return None
    share = gpu_share(machine, workers, rank, trials)
    fit = lanes_on(machine, share) if share else min(devices, int(machine.free // rank))
    return Packing(max(1, min(fit // workers, trials)), workers, share)


def propose_packing(resolved: ResolvedPlan, probe: ProcessorProbe, peak: int) -> str:
    """Describe the packing to choose, given the peak in bytes of a measured stage with one worker."""
    machine, trials = this_machine(), resolved.trials
    adapter, training = max(
        resolved.space.largest(),
        key=lambda pair: sum(rank_memory(probe, *pair, 1).values()),
    )

    def estimated(workers: int) -> float:
        return sum(rank_memory(probe, adapter, training, workers).values())

    # The estimate gives the ratios between numbers of workers and between knobs; the measured stage,
    # of plain tuning, gives the size.
    plain = resolved.finetune
    estimate = rank_memory(probe, plain.adapter, plain.training, 1)
    scale = peak / sum(estimate.values())
    best = best_packing(
        machine, trials, lambda n: scale * estimated(n), _workers(resolved, machine)
    )
    has = f"{machine.gpus} GPUs" if machine.gpus else f"{machine.cores} cores"
    flags = best.flags() if best else "no number of workers makes a rank fit"
    return f"a worker took {peak / 1e9:.2f} GB at its peak; on {has} for {trials} trials: {flags}"


def _workers(resolved: ResolvedPlan, machine: Devices) -> Iterator[int]:
    """Yield the numbers of workers that divide every batch size of the plan."""
    for workers in range(1, (machine.gpus or machine.cores) + 1):
        with contextlib.suppress(InputError):
            check_batches(resolved.space, workers)
            yield workers
