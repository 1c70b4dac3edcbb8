"""How many lanes run at once, with how many workers, and what of a GPU each worker holds.

A lane trains one trial. Several of one worker share a GPU as far as its memory goes; workers of one lane
never do, for NCCL wants a GPU for each rank.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from search.plan.checks import check_batches
from search.plan.resolved_plan import ResolvedPlan
from search.plan.search_plan import SearchPlan
from search.resources.rank_memory import ProcessorProbe, rank_memory
from spaces.errors import InputError
from spaces.references import REFERENCES

SPARE = 0.9
"""Of a GPU's memory is given away: the rest is for what CUDA itself takes, and for holes."""


@dataclass(frozen=True)
class Devices:
    """What there is to train on."""

    cores: int
    free: float
    """Bytes of memory."""
    gpus: int = 0
    gpu_bytes: float = math.inf
    """Free on the fullest GPU."""


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
        """The flags of a search that ask for it."""
        asked = f"--concurrent {self.lanes} --workers-per-trial {self.workers}"
        return f"{asked} --gpus-per-worker {self.share:g}" if self.share else asked


def this_machine() -> Devices:
    """This machine."""
    import psutil
    import torch

    from search.resources.cluster import own_cpus

    sizes = [torch.cuda.mem_get_info(i)[0] for i in range(torch.cuda.device_count())]
    free = psutil.virtual_memory().available
    return Devices(own_cpus(), free, len(sizes), min(sizes, default=math.inf))


def pack_lanes(plan: SearchPlan, rank: int) -> Packing:
    """Lanes as asked for, else as many as this machine holds; raises `InputError` if it holds none."""
    from search.resources.cluster import check_gpu, check_memory, cluster_address, lanes_that_fit

    machine, workers = this_machine(), plan.workers_per_trial
    most = plan.samples + len(REFERENCES)
    # A cluster's memory lies on machines that may not even run yet.
    alone = cluster_address() is None
    if machine.gpus and alone:
        check_gpu(rank)
    if plan.gpus_per_worker and alone and not machine.gpus:
        raise InputError(
            "--gpus-per-worker needs a GPU, and this machine has none and is in no cluster; without it "
            "the workers train on CPUs"
        )
    share = gpu_share(machine, workers, rank, plan.concurrent or most, plan.gpus_per_worker, alone)
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
        return Packing(max(1, min(fit // workers, most)), workers, share)
    if plan.concurrent < 1:
        raise InputError(f"--concurrent must be at least 1, got {plan.concurrent}")
    lanes = min(plan.concurrent, most)
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
    """Of a GPU that each worker holds, if `lanes` are wanted of ranks of so many bytes.

    As much as was asked for (which may mean the GPUs of other machines), else 0 where there is no GPU. In
    a cluster, where this machine is not `alone`, none is shared unasked: lanes that fit together here would
    never go to the other machines.
    """
    if asked is not None:
        return asked
    if not machine.gpus:
        return 0.0
    if workers > 1 or not alone:
        return 1.0
    held = machine.gpu_bytes * SPARE // rank if rank else math.inf
    # Each lane prepares its batches on a core.
    wanted = min(held, machine.cores // machine.gpus, math.ceil(lanes / machine.gpus))
    # Cut off, not rounded: three times a share may not be more than the GPU.
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
    """Workers that the GPUs hold."""
    return max(1, machine.gpus) * int(1 / share)


# Proposing ---------------------------------------------------------------------------------------


def best_packing(
    machine: Devices, trials: int, rank: Callable[[int], float], possible: Iterator[int]
) -> Packing | None:
    """The packing that trains most at once; None if a rank fits nowhere.

    `rank` says the bytes of a rank among so many workers; `possible` are the numbers of workers that the
    batches allow, smallest first. Workers of one lane wait for each other at every step, lanes never do:
    a lane gets a second worker only where one does not hold the model, or where devices would be idle.
    """
    found: Packing | None = None
    for workers in possible:
        packing = _packing(machine, trials, workers, rank(workers))
        busy = (packing.lanes * workers * (packing.share or 1)) if packing else 0.0
        if packing and (
            found is None or busy > found.lanes * found.workers * (found.share or 1) + 1e-3
        ):
            found = packing
    return found


def _packing(machine: Devices, trials: int, workers: int, rank: float) -> Packing | None:
    devices = machine.gpus or machine.cores
    room = machine.gpu_bytes * SPARE if machine.gpus else machine.free / workers
    if rank > room or workers > devices:
        return None
    share = gpu_share(machine, workers, rank, trials)
    fit = lanes_on(machine, share) if share else min(devices, int(machine.free // rank))
    return Packing(max(1, min(fit // workers, trials)), workers, share)


def propose_packing(resolved: ResolvedPlan, probe: ProcessorProbe, peak: int) -> str:
    """What a measured stage of one worker, with `peak` bytes, leaves room for."""
    machine, trials = this_machine(), resolved.plan.samples + len(REFERENCES)
    adapter, training = max(
        resolved.space.largest(),
        key=lambda pair: sum(rank_memory(probe, *pair, 1).values()),
    )

    def estimated(workers: int) -> float:
        return sum(rank_memory(probe, adapter, training, workers).values())

    # The estimate says how a rank shrinks among more workers, and grows with the largest knobs; the
    # measured stage, of plain tuning, how large it is.
    plain = resolved.finetune
    known = rank_memory(probe, plain.adapter, plain.training, 1)
    scale = peak / sum(known.values())
    found = best_packing(
        machine, trials, lambda n: scale * estimated(n), _workers(resolved, machine)
    )
    has = f"{machine.gpus} GPUs" if machine.gpus else f"{machine.cores} cores"
    fits = found.flags() if found else "no number of workers makes a rank fit"
    return f"a worker took {peak / 1e9:.2f} GB at its peak; on {has} for {trials} trials: {fits}"


def _workers(resolved: ResolvedPlan, machine: Devices) -> Iterator[int]:
    """Numbers of workers that every batch size of the plan can be shared among."""
    for workers in range(1, (machine.gpus or machine.cores) + 1):
        with contextlib.suppress(InputError):
            check_batches(resolved.space, workers)
            yield workers
