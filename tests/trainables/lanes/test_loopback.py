"""Ranks on one machine meet in a file of this user, not at a port."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import ray
from ray.train.torch import TorchConfig

from trainables.lanes.loopback import LoopbackBackend, LoopbackConfig, meeting_file, torch_config


@pytest.mark.parametrize(("address", "local"), [("127.0.0.1", True), ("10.0.0.7", False)])
def test_ranks_meet_at_a_port_only_where_ray_has_other_machines(
    address: str, local: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: address)
    config = torch_config("gloo")
    assert config.backend == "gloo" and type(config) is (LoopbackConfig if local else TorchConfig)
    assert (config.backend_cls is LoopbackBackend) == local


def test_the_file_where_ranks_meet_is_this_users_alone() -> None:
    folder = Path(meeting_file()).parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    os.rmdir(folder)
