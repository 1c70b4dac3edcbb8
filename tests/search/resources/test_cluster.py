"""Choice of the Ray that a search joins; tests/search/test_search.py shows that it starts its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from search.resources import cluster
from search.resources.cluster import ROOT, cluster_address, module_path
from spaces import InputError


@pytest.fixture
def address() -> Iterator[str]:
    """Yield an address where a server listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], None]:
    """Return a function that leaves the files of `ray start` on this machine."""

    def leave(found: str | None) -> None:
        monkeypatch.delenv("RAY_ADDRESS", raising=False)
        monkeypatch.setattr(cluster, "find_bootstrap_address", lambda _: found)

    return leave


def test_the_cluster_that_this_machine_is_part_of_is_joined(left: Callable, address: str) -> None:
    left(address)
    assert cluster_address() == address


@pytest.mark.parametrize("found", [None, "127.0.0.1:1", "nonsense"])
def test_a_cluster_that_does_not_answer_is_not_joined(left: Callable, found: str | None) -> None:
    left(found)
    assert cluster_address() is None


def test_workers_import_the_modules_of_this_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["own", "", str(ROOT)]))
    assert module_path() == os.pathsep.join([str(ROOT), str(tmp_path / "own")])
    monkeypatch.delenv("PYTHONPATH")
    assert module_path() == str(ROOT)


def test_the_environment_variable_wins(
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


@pytest.fixture
def guarded() -> Iterator[str]:
    """A cluster with a token of its own."""
    folder = tempfile.mkdtemp()  # short, for it holds sockets
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    head = ["start", "--head", "--block", f"--port={port}", "--num-cpus=1"]
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "ray.scripts.scripts", *head),
            *("--include-dashboard=false", f"--temp-dir={folder}"),
        ],
        env=shown("t" * 32),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + 60
        while not answers(port):
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=60)
        shutil.rmtree(folder, ignore_errors=True)


def answers(port: int) -> bool:
    with socket.socket() as knock:
        return knock.connect_ex(("127.0.0.1", port)) == 0


def shown(token: str) -> dict[str, str]:
    """Return the environment of a process that shows a token."""
    return {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}


@pytest.mark.slow
def test_a_cluster_with_a_token_is_joined_with_it_and_refuses_others(
    guarded: str, tmp_path: Path
) -> None:
    code = (
        "import ray; from search.resources.cluster import connect; connect(3); "
        "print(ray.cluster_resources())"
    )

    def joined(**env: str) -> subprocess.CompletedProcess[str]:
        own = {n: v for n, v in os.environ.items() if n != "RAY_AUTH_TOKEN"}
        own |= {"RAY_ADDRESS": guarded, "RAY_AUTH_MODE": "token", "HOME": str(tmp_path)} | env
        return subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=own, capture_output=True, text=True
        )

    assert "'CPU': 1.0" in joined(RAY_AUTH_TOKEN="t" * 32).stdout
    for refused in (joined(RAY_AUTH_TOKEN="f" * 32), joined()):
        assert refused.returncode != 0 and not refused.stdout
        said = f'InputError: the Ray cluster at "{guarded}" must let this search in'
        assert said in refused.stderr
