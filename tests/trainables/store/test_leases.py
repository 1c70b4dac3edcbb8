from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from trainables.store import leases
from trainables.store.leases import HeldError, Lease, hold_lease
from trainables.store.stage_store import StageStore

ROOT = Path(__file__).parents[3]


@pytest.fixture
def store(tmp_path: Path) -> StageStore:
    return StageStore(tmp_path / "stages")


HOLDER = """
import sys, time
from pathlib import Path
from trainables.store.stage_store import StageStore

with StageStore(Path(sys.argv[1])).lease("ab"):
    print("held", flush=True)
    sys.stdin.readline()
"""


def holder(store: StageStore) -> subprocess.Popen[str]:
    """A process that holds the lease until it gets a line, or is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(store.root)],
        **{"cwd": ROOT, "env": {**os.environ, "PYTHONPATH": "."}, "text": True},
        **{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE},
    )
    assert process.stdout.readline() == "held\n"
    return process


def test_a_lease_is_waited_for_until_another_process_gives_it_back(store: StageStore) -> None:
    with holder(store) as process:
        order: list[str] = []
        thread = threading.Timer(0.5, lambda: (order.append("freed"), process.communicate("\n")))
        thread.start()
        with store.lease("ab") as lease:
            order.append("taken")
        thread.join()
    assert order == ["freed", "taken"]
    assert lease.waited >= 0.4
    with store.lease("ab") as lease:
        assert lease.waited < 0.4


def test_different_keys_do_not_wait_for_each_other(store: StageStore) -> None:
    with store.lease("ab"), store.lease("cd") as lease:
        assert lease.waited < 0.1


def test_the_lease_of_a_killed_process_is_free_at_once(store: StageStore) -> None:
    with holder(store) as process:
        process.kill()
    with store.lease("ab") as lease:
        assert lease.waited < 0.5
    assert list(lease.path.parent.iterdir()) == []


def test_the_lease_of_another_machine_expires(
    store: StageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "LEASE_SECONDS", 1.0)
    lease, end = Lease(store.root / "leases" / "ab"), time.monotonic() + 60
    lease.path.parent.mkdir(parents=True)
    owner = {**lease.owner, "kernel": "another"}
    lease.path.write_text(json.dumps(owner))
    assert not lease.take()
    while not lease.take():
        assert time.monotonic() < end
        time.sleep(0.05)
    lease.give_back()
    assert not lease.path.exists()


def test_a_process_number_that_is_in_use_again_is_not_the_owner(store: StageStore) -> None:
    lease = Lease(store.root / "leases" / "ab")
    lease.path.parent.mkdir(parents=True)
    lease.path.write_text(json.dumps({**lease.owner, "started": 1.0}))
    assert lease.take()


@pytest.mark.parametrize("content", ["", "{", "[]", '"an id"', '{"machine": 3}'])
def test_a_lease_that_says_nothing_counts_by_its_age(store: StageStore, content: str) -> None:
    lease = Lease(store.root / "leases" / "ab")
    lease.path.parent.mkdir(parents=True)
    lease.path.write_text(content)
    assert not lease.take()
    long_ago = time.time() - 2 * leases.LEASE_SECONDS
    os.utime(lease.path, (long_ago, long_ago))
    assert lease.take()


def test_a_lease_that_was_taken_meanwhile_is_put_back(store: StageStore) -> None:
    with store.lease("ab") as lease:
        Lease(lease.path)._clear("what was read before")
        assert json.loads(lease.path.read_text()) == lease.owner
        assert list(lease.path.parent.iterdir()) == [lease.path]


def test_a_lease_is_renewed_while_it_is_held(
    store: StageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "LEASE_SECONDS", 0.3)
    with store.lease("ab") as lease:
        taken, end = lease.path.stat().st_mtime_ns, time.monotonic() + 60
        while lease.path.stat().st_mtime_ns == taken:
            assert time.monotonic() < end
            time.sleep(0.01)


def test_a_renewed_lease_does_not_expire(
    store: StageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "LEASE_SECONDS", 5.0)
    with store.lease("ab") as lease:
        long_ago = time.time() - 60
        lease.path.write_text(json.dumps({**lease.owner, "kernel": "another"}))
        os.utime(lease.path, (long_ago, long_ago))
        lease.renew()
        assert not Lease(lease.path).take()
        os.utime(lease.path, (long_ago, long_ago))
        assert Lease(lease.path).take()


def test_who_lost_a_lease_does_not_give_back_the_new_owners(store: StageStore) -> None:
    with store.lease("ab") as lease:
        lease.path.unlink()
        other = Lease(lease.path)
        assert other.take()
    assert lease.path.exists()
    other.give_back()
    assert not lease.path.exists()


def test_a_lease_is_given_back_when_its_stage_fails(store: StageStore) -> None:
    with pytest.raises(RuntimeError), store.lease("ab"):
        raise RuntimeError("out of memory")
    assert not (store.root / "leases" / "ab").exists()


def test_a_process_that_sleeps_keeps_its_lease_whatever_the_clock_says(
    store: StageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with holder(store) as process:
        path = store.root / "leases" / "ab"
        process.send_signal(signal.SIGSTOP)
        for moment in (0.0, time.time() - 1e6, time.time() + 1e6):
            os.utime(path, (moment, moment))
            assert not Lease(path).take()
        process.send_signal(signal.SIGCONT)
        process.communicate("\n")
    assert Lease(path).take()


@pytest.mark.parametrize("ahead", [30.0, 3600.0, 1e8])
@pytest.mark.parametrize("content", ["", None])
def test_a_lease_whose_time_lies_ahead_ends_if_nobody_renews_it(
    store: StageStore, monkeypatch: pytest.MonkeyPatch, ahead: float, content: str | None
) -> None:
    monkeypatch.setattr(leases, "LEASE_SECONDS", 0.3)
    lease = Lease(store.root / "leases" / "ab")
    lease.path.parent.mkdir(parents=True)
    another = json.dumps({**lease.owner, "kernel": "another", "machine": "far/1"})
    lease.path.write_text(another if content is None else content)
    os.utime(lease.path, (time.time() + ahead, time.time() + ahead))
    with pytest.raises(HeldError), store.lease("ab", patience=0.0):
        pass
    said: list[str] = []
    with hold_lease(lease.path, 60, said.append) as taken:
        assert 0.1 < taken.waited < 5
    assert said == [] or len(said) == 1


def test_a_lease_that_is_renewed_ahead_of_our_clock_is_waited_for(
    store: StageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "LEASE_SECONDS", 0.2)
    lease = Lease(store.root / "leases" / "ab")
    lease.path.parent.mkdir(parents=True)
    another = {**lease.owner, "kernel": "another", "machine": "far/1", "pid": 7}
    lease.path.write_text(json.dumps(another))
    over, said = threading.Event(), []

    def renew() -> None:
        while not over.wait(0.05):
            os.utime(lease.path, (time.time() + 1e4, time.time() + 1e4))

    thread = threading.Thread(target=renew)
    thread.start()
    with pytest.raises(HeldError, match="process 7 on far"), hold_lease(lease.path, 1, said.append):
        pass
    over.set()
    thread.join()
    (line,) = said
    assert line.startswith("waiting for process 7 on far, which holds ")


def test_a_process_that_replaced_its_program_takes_its_own_lease_again(store: StageStore) -> None:
    with store.lease("ab") as lease:
        former = json.dumps({**lease.owner, "token": "of a program before"})
        lease.path.write_text(former)
        assert lease.lost()
        assert Lease(lease.path).take()


def test_who_lost_a_lease_renews_it_no_longer(
    store: StageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "LEASE_SECONDS", 0.3)
    with store.lease("ab") as lease:
        lease.path.write_text("another's")
        time.sleep(0.1)
        os.utime(lease.path, (0, 0))
        time.sleep(0.2)
        assert lease.path.stat().st_mtime == 0


def test_a_full_disk_leaves_no_empty_lease(
    store: StageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = Lease(store.root / "leases" / "ab")
    lease.path.parent.mkdir(parents=True)

    def full(*_: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(leases.json, "dumps", full)
    with pytest.raises(OSError, match="No space"):
        lease.take()
    assert not lease.path.exists()
