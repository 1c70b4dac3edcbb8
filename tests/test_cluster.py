"""Which Ray a search joins; that it starts its own where there is none, tests/test_search.py shows."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from search import cluster
from search.cluster import ROOT, cluster_address, module_path
from spaces import InputError


@pytest.fixture
def address() -> Iterator[str]:
    """Where something listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], None]:
    """What `ray start` left behind on this machine."""

    def leave(found: str | None) -> None:
        monkeypatch.delenv("RAY_ADDRESS", raising=False)
        monkeypatch.setattr(cluster, "find_bootstrap_address", lambda _: found)

    return leave


def test_the_cluster_that_this_machine_is_part_of_is_joined(left: Callable, address: str) -> None:
    left(address)
    assert cluster_address() == address


@pytest.mark.parametrize("found", [None, "127.0.0.1:1", "nonsense"])
def test_none_is_joined_that_does_not_answer(left: Callable, found: str | None) -> None:
    left(found)
    assert cluster_address() is None


def test_workers_find_what_this_process_finds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["own", "", str(ROOT)]))
    assert module_path() == os.pathsep.join([str(ROOT), str(tmp_path / "own")])
    monkeypatch.delenv("PYTHONPATH")
    assert module_path() == str(ROOT)


def test_what_the_environment_says_comes_first(
    left: Callable, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    left(address)
    monkeypatch.setenv("RAY_ADDRESS", "local")
    assert cluster_address() is None
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    assert cluster_address() == "ray://head:10001"
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(InputError, match="must be a cluster that answers"):
        cluster_address()
