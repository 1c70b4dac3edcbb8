"""Checks of this machine before Ray starts on it alone."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from search.resources import ray_start
from search.resources.cluster import ROOT
from search.resources.ray_start import TOKEN_VARIABLES, check_ray_can_start, try_twice
from spaces.errors import InputError, MachineError


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty home folder, without a token and with a short temporary folder."""
    for name in (*TOKEN_VARIABLES, "RAY_AUTH_MODE", "RAY_TMPDIR", "TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    return home


def test_a_machine_where_ray_can_start_is_left_as_it_was(own_home: Path) -> None:
    check_ray_can_start()
    assert not list(own_home.iterdir())


@pytest.mark.parametrize("variable", ["TMPDIR", "RAY_TMPDIR"])
def test_a_temporary_folder_with_too_long_a_path_is_refused(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ("x" * 79)
    folder.mkdir()
    monkeypatch.setenv(variable, str(folder))
    with pytest.raises(InputError, match=f"at most .* bytes.*{variable}.*RAY_TMPDIR=/tmp would do"):
        check_ray_can_start()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have another length")
@pytest.mark.parametrize("more", [0, 1])
def test_the_longest_path_of_a_socket_is_the_kernels(more: int, tmp_path: Path) -> None:
    path = f"/tmp/{os.getpid()}-{more}-".ljust(ray_start.LONGEST_SOCKET + more, "x")
    with socket.socket(socket.AF_UNIX) as made:
        if more:
            with pytest.raises(OSError, match="too long"):
                made.bind(path)
            return
        made.bind(path)
    os.unlink(path)


def test_a_temporary_folder_that_cannot_be_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", "/proc/x")
    with pytest.raises(InputError, match=r'cannot: "/proc/x/ray".*RAY_TMPDIR=FOLDER'):
        check_ray_can_start()


def test_a_home_that_cannot_be_written_is_refused_unless_there_is_a_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    with pytest.raises(InputError, match=r"its token to the home folder.*HOME=FOLDER"):
        check_ray_can_start()
    monkeypatch.setenv("RAY_AUTH_TOKEN", "a-token")
    check_ray_can_start()


def test_a_token_is_kept_to_its_owner(own_home: Path) -> None:
    token = own_home / ".ray" / "auth_token"
    token.parent.mkdir()
    token.write_text("a-token")
    token.chmod(0o644)
    check_ray_can_start()
    assert stat.S_IMODE(token.stat().st_mode) == 0o600


def failing(times: int) -> tuple[list[int], Callable[[], None]]:
    """Return the calls so far, and a function that fails at the first ones."""
    calls: list[int] = []

    def init() -> None:
        calls.append(len(calls))
        if len(calls) <= times:
            raise TimeoutError("the node did not answer\nand 60 lines more")

    return calls, init


@pytest.mark.parametrize("times", [0, 1, 2])
def test_ray_is_started_twice_at_most_and_fails_in_one_line(
    times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ray_start.time, "sleep", lambda _: None)
    log, (calls, init) = tmp_path / "ray-error.log", failing(times)
    if times < ray_start.TRIES:
        try_twice(init, log)
    else:
        with pytest.raises(MachineError) as error:
            try_twice(init, log)
        assert "\n" not in str(error.value) and str(log) in str(error.value)
    assert len(calls) == min(times + 1, ray_start.TRIES)
    assert capsys.readouterr().out.count("trying once more") == min(times, 1)
    assert times == 0 or log.read_text().count("60 lines more") >= times


LISTENING = """
import os, sys, tempfile, time
from pathlib import Path
import psutil
from search.resources.ray_start import start_ray

start_ray(1, {}, Path(sys.argv[1]))
time.sleep(2)
this = psutil.Process()
for process in (this, *this.children(recursive=True)):
    for one in process.net_connections("inet"):
        if one.status == psutil.CONN_LISTEN:
            print("listens", process.name(), one.laddr.ip, flush=True)
"""


@pytest.mark.slow
def test_ray_on_this_machine_alone_listens_on_loopback_alone(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", LISTENING, str(tmp_path / "ray-error.log")],
        **{"cwd": ROOT, "stdout": subprocess.PIPE, "text": True, "timeout": 300},
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    listening = [line.split() for line in ended.stdout.splitlines() if line.startswith("listens")]
    assert {name for _, name, _ in listening} >= {"gcs_server", "raylet"}
    assert {address for *_, address in listening} <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    token = tmp_path / "home" / ".ray" / "auth_token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
