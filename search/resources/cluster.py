"""Connection to Ray, and checks that this machine holds the lanes."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

import psutil
import ray
import torch
from ray._private.authentication.authentication_token_setup import (
    maybe_enable_token_auth_if_token_available,
)
from ray._private.services import find_bootstrap_address
from ray.exceptions import RayError

from search.resources.ray_start import start_ray
from spaces import InputError
from spaces.errors import first_line

ROOT = Path(__file__).parents[2]
WORKER_SETUP_HOOK = "trainables.rank.gc_policy.collect_rarely"
"""Function that each of Ray's worker processes calls first."""
LANE_OVERHEAD = 0.4e9
"""Bytes that a lane needs beside its ranks: the actors of Ray."""
EXCLUDES = [".git", "results", "tests", "docs", "benchmarks", ".venv", "venv"]


def connect(cpus: int, log: Path | None = None) -> None:
    """Join the cluster that this machine belongs to, or start Ray here with `cpus` CPUs.

    Ray's token authentication stays on: it is the default of `ray.init` and of cluster.yaml. Raises
    `MachineError` if Ray does not come up here; the whole error is then in the file `log`.
    """
    log = log or Path(tempfile.gettempdir(), "ray-error.log")
    quiet = {
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "RAY_AIR_NEW_OUTPUT": "0",  # the new output prints a header even if it is switched off
        "RAY_TRAIN_ENABLE_STATE_TRACKING": "0",
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # a lane ends at its next check
        "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # it costs a process per lane, and is not used
        # A cold environment on a busy machine takes longer than Ray's default of a minute.
        "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "600",
        "PYTHONWARNINGS": "ignore",
        "TRANSFORMERS_VERBOSITY": "error",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    quiet |= {name: os.environ[name] for name in quiet if name in os.environ}
    os.environ.update(quiet)
    env: dict[str, object] = {"env_vars": quiet, "worker_process_setup_hook": WORKER_SETUP_HOOK}
    address = cluster_address()
    if address is None:
        start_ray(cpus, env | {"env_vars": {**quiet, "PYTHONPATH": module_path()}}, log)
        return
    job = {} if "RAY_JOB_ID" in os.environ else {"working_dir": str(ROOT), "excludes": EXCLUDES}
    # Ray may show its token to this machine's own cluster; elsewhere the user must switch that on.
    if os.environ.get("RAY_ADDRESS", "auto") == "auto":
        maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
    try:
        ray.init(address=address, runtime_env=env | job, log_to_driver=False)
    except (ConnectionError, RuntimeError, RayError) as error:
        raise InputError(
            f'the Ray cluster at "{address}" must let this search in, and does not '
            f"({first_line(error)}): a cluster with a token needs RAY_AUTH_MODE=token and the "
            "token in ~/.ray/auth_token or RAY_AUTH_TOKEN; RAY_ADDRESS=local starts Ray on this machine "
            "alone"
        ) from error


def module_path() -> str:
    """Return the PYTHONPATH of this machine's workers: the checkout, then this process's own.

    Paths are resolved here, for Tune changes the working directory of its trials.
    """
    given = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    return os.pathsep.join(dict.fromkeys([str(ROOT), *(str(Path(p).resolve()) for p in given)]))


def cluster_address() -> str | None:
    """Return the address of RAY_ADDRESS, or of the cluster that `ray start` or `ray up` joined.

    None stands for no cluster. Ray's "auto" is not used: it would join an instance that another search
    started for itself, and that ends with that search.
    """
    given = os.environ.get("RAY_ADDRESS", "auto")
    if given == "local":
        return None
    if given == "auto":
        address = find_bootstrap_address(None)
        # A stopped machine leaves an address behind that Ray would try for minutes.
        return address if address and _answers(address) else None
    if "://" not in given and not _answers(given):
        raise InputError(
            f'RAY_ADDRESS must be a cluster that answers, got "{given}"; '
            "RAY_ADDRESS=local starts Ray on this machine alone"
        )
    return given


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=3):
            return True
    except (OSError, ValueError):
        return False


def own_cpus() -> int:
    """Return the number of CPUs that this process may use."""
    return len(os.sched_getaffinity(0))


def lanes_that_fit(workers: int, rank: int) -> int:
    """Return how many lanes this machine's free memory holds; raises `InputError` if none.

    `rank` is one rank's peak in bytes.
    """
    lane, free = _lane_bytes(workers, rank), psutil.virtual_memory().available
    if free < lane:
        raise InputError(
            f"one lane of {workers} workers needs about {lane / 1e9:.1f} GB of memory, "
            f"{free / 1e9:.1f} GB are free; fewer --workers-per-trial or a smaller model would do"
        )
    return int(free // lane)


def check_memory(lanes: int, workers: int, rank: int) -> None:
    """Raise `InputError` if this machine's free memory cannot hold the lanes that were asked for."""
    fit = lanes_that_fit(workers, rank)
    if lanes > fit:
        needed = lanes * _lane_bytes(workers, rank)
        raise InputError(
            f"{lanes} lanes of {workers} workers need about {needed / 1e9:.1f} GB of memory, "
            f"{psutil.virtual_memory().available / 1e9:.1f} GB are free; --concurrent {fit} would do"
        )


def check_gpu(rank: int) -> None:
    """Raise `InputError` if a rank does not fit into this machine's smallest GPU."""
    sizes = [torch.cuda.mem_get_info(i)[1] for i in range(torch.cuda.device_count())]
    if sizes and rank > min(sizes):
        raise InputError(
            f"a rank needs about {rank / 1e9:.1f} GB, and the GPU has {min(sizes) / 1e9:.1f} GB; in a "
            "plan's training a smaller micro_batch, precision bf16, checkpointing true, zero 3 over more "
            "--workers-per-trial, offload or base_bits 4 would do"
        )


def _lane_bytes(workers: int, rank: int) -> float:
    return workers * rank + LANE_OVERHEAD
