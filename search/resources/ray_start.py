"""Ray started on this machine alone: what it needs, its ports, and a second try."""

from __future__ import annotations

import contextlib
import datetime
import logging
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import ray
from ray._private import ray_constants

from spaces.errors import InputError, MachineError, first_line
from spaces.secrets import masked
from spaces.storage import check_storage, try_folder

LONGEST_SOCKET = 107 if sys.platform == "linux" else 103
"""Bytes that the path of a Unix socket may have."""
SOCKET = "ray/session_{now:%Y-%m-%d_%H-%M-%S_%f}_{pid}/sockets/plasma_store"
"""Path of Ray's longest socket below its temporary folder."""
TOKEN_VARIABLES = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
"""Environment variables by which a user gives Ray a token; without them Ray reads one below the home."""
LOOPBACK_ENVIRONMENT = {
    # "0" keeps Ray's processes on loopback. Ray names the switch after what some systems do by default.
    ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR: "0",
    "GLOO_SOCKET_IFNAME": "lo" if sys.platform == "linux" else "lo0",
    "NCCL_SOCKET_IFNAME": "lo" if sys.platform == "linux" else "lo0",
}
"""Environment by which a search on this machine alone listens on loopback alone."""
TRIES = 2
"""Attempts to start Ray."""


def check_ray_can_start() -> None:
    """Raise `InputError` if Ray cannot start here: its sockets' paths, its folder, its token."""
    folder = Path(temporary_folder())
    socket = folder / SOCKET.format(now=datetime.datetime.now(), pid=os.getpid())
    room = LONGEST_SOCKET - (len(os.fsencode(socket)) - len(os.fsencode(folder)))
    if len(os.fsencode(folder)) > room:
        raise InputError(
            f"the folder of Ray's sockets must have a path of at most {room} bytes, got "
            f'{len(os.fsencode(folder))}: "{folder}" (from {_temporary_variable()}); '
            "RAY_TMPDIR=/tmp would do"
        )
    if why := try_folder(folder / "ray"):
        raise InputError(
            f'Ray must be able to write to its temporary folder, and cannot: "{folder}/ray" ({why}); '
            "RAY_TMPDIR=FOLDER with a short path that can be written would do"
        )
    _check_token()


def temporary_folder() -> str:
    """Return the folder in which Ray makes its temporary folder `ray`."""
    return os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"


def _temporary_variable() -> str:
    """Return the environment variable to blame for a temporary folder with a long path."""
    return "RAY_TMPDIR" if os.environ.get("RAY_TMPDIR") else "TMPDIR"


def _check_token() -> None:
    """Raise `InputError` if there is no token for Ray, and none can be written."""
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return
    if any(os.environ.get(name) for name in TOKEN_VARIABLES):
        return
    folder = Path.home() / ".ray"
    token = folder / "auth_token"
    try:
        there = bool(token.read_text().strip())
    except OSError:
        there = False
    if there:
        keep_to_owner(token)
    if not there and (why := try_folder(folder)):
        raise InputError(
            f'Ray must be able to write its token to the home folder, and cannot: "{folder}" ({why}); '
            "HOME=FOLDER that can be written, or a token of your own in RAY_AUTH_TOKEN, would do"
        )


def keep_to_owner(token: Path | None = None) -> None:
    """Make Ray's token readable by its owner alone; Ray writes it with the modes that the umask leaves."""
    with contextlib.suppress(OSError):  # the file is another user's, or there is none
        os.chmod(token or Path.home() / ".ray" / "auth_token", 0o600)


def start_ray(cpus: int, runtime_env: dict[str, Any], log: Path) -> None:
    """Start Ray here on loopback; try twice, then raise `MachineError`.

    Tracebacks go to the file `log`.
    """
    check_ray_can_start()
    use_loopback()

    def init() -> None:
        ray.init(
            address="local",
            num_cpus=cpus,
            object_store_memory=256 << 20,
            runtime_env=runtime_env,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )

    try:
        try_twice(init, log)
    finally:
        keep_to_owner()  # Ray has written its token if there was none


def use_loopback() -> None:
    """Restrict this process and its children to the loopback interface."""
    os.environ.update(LOOPBACK_ENVIRONMENT)
    ray_constants.ENABLE_RAY_CLUSTER = False  # Ray read the variable when it was imported


def try_twice(init: Callable[[], None], log: Path) -> None:
    """Call `init`, and once more if it fails; then raise a `MachineError` that names the log."""
    for attempt in range(1, TRIES + 1):
        before = {p.pid for p in psutil.Process().children(recursive=True)}
        try:
            init()
            return
        except Exception as error:  # Ray raises bare ones too
            noted = note_traceback(log, error)
            end_children_but(before)
            if attempt == TRIES:
                raise MachineError(
                    f"Ray did not come up on this machine ({first_line(error)[:200]}); {noted}"
                ) from error
            print(f"Ray did not come up ({first_line(error)[:200]}); trying once more", flush=True)
            time.sleep(1)


def note_traceback(log: Path, error: BaseException) -> str:
    """Append a traceback to `log`, or else to a file in the temporary folder; return a note on where."""
    return note_text(log, masked("".join(traceback.format_exception(error))))


def note_text(log: Path, text: str) -> str:
    """Append a text to `log`, or else to a file in the temporary folder; return a note on where."""
    for path in (log, Path(tempfile.gettempdir(), log.name)):
        try:
            check_storage(path)  # what lies below an unmounted storage is not written to
            with open(path, "a", encoding="utf-8", errors="replace") as file:
                file.write(text)
            return f'the whole error is in "{path}"'
        except OSError:
            continue
    return "the whole error could not be written anywhere"


def end_children_but(kept: set[int]) -> None:
    """Shut down a Ray that did not come up, and kill its processes: all children but those `kept`."""
    try:
        ray.shutdown()
    except Exception as error:  # half-started, Ray raises errors of many kinds
        print(f"note: Ray was not shut down cleanly ({first_line(error)[:200]})", flush=True)
    kill_children(kept)


def kill_children(kept: set[int]) -> None:
    """Kill all descendants of this process except those with an id in `kept`."""
    children = [p for p in psutil.Process().children(recursive=True) if p.pid not in kept]
    for child in children:
        try:
            child.kill()
        except psutil.Error:  # it has ended by itself
            continue
    psutil.wait_procs(children, timeout=10)
