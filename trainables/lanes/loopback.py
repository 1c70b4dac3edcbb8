"""Process groups of ranks that are all on this machine, without a port that others can reach.

Torch's own store listens on every interface and asks nobody who they are. Here the ranks meet in a file.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from typing import Any

import ray
from ray.train.torch import TorchConfig
from ray.train.torch.config import (
    _set_torch_distributed_env_vars,
    _setup_torch_process_group,
    _TorchBackend,
)

LOOPBACK = "127.0.0.1"


@dataclass
class LoopbackConfig(TorchConfig):
    """Torch's process group over the loopback interface."""

    @property
    def backend_cls(self) -> type[LoopbackBackend]:
        return LoopbackBackend


class LoopbackBackend(_TorchBackend):
    """Backend of Ray Train whose ranks meet in a file."""

    def on_start(self, worker_group, backend_config: TorchConfig) -> None:
        """Set up the process group on all ranks."""
        file = worker_group.execute_single(0, meeting_file)
        worker_group.execute(_set_torch_distributed_env_vars)
        ranks = range(len(worker_group))
        get: Any = ray.get  # its annotation knows references of one type only
        get(
            [
                worker_group.execute_single_async(
                    rank,
                    _setup_torch_process_group,
                    backend=backend_config.backend,
                    world_rank=rank,
                    world_size=len(ranks),
                    init_method=f"file://{file}",
                    timeout_s=backend_config.timeout_s,
                )
                for rank in ranks
            ]
        )


def meeting_file() -> str:
    """Return the path of a new file that only this user can read."""
    return os.path.join(tempfile.mkdtemp(prefix="ranks-"), "store")


def torch_config(backend: str) -> TorchConfig:
    """Return the process group's settings: on loopback if Ray is, else as Ray has them."""
    local = ray.util.get_node_ip_address() == LOOPBACK
    return LoopbackConfig(backend=backend) if local else TorchConfig(backend=backend)
