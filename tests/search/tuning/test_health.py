"""A search whose storage, disk or lease is lost ends at once, in one line."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from search.tuning import health, run_lock
from search.tuning.health import Health
from search.tuning.run_lease import RUN_LEASE
from search.tuning.run_lock import begin_storage, only_writer
from spaces.errors import MachineError
from spaces.storage import MARKER, release_storage


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Path]:
    """Yield the folder of a search that has begun."""
    begin_storage(tmp_path / "storage" / "it")
    yield tmp_path / "storage" / "it"
    release_storage(tmp_path / "storage")


def test_a_sound_search_goes_on(run: Path) -> None:
    with only_writer(run):
        Health(run).look()


@pytest.mark.parametrize("module", [health, run_lock])
def test_a_full_disk_ends_a_search_or_keeps_it_from_beginning(
    module: object, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = SimpleNamespace(total=10**9, used=10**9, free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    act = Health(run).look if module is health else lambda: begin_storage(run)
    with pytest.raises(MachineError, match=r"disk of .*0\.0 MB"):
        act()


def test_an_unmounted_storage_ends_a_search_and_is_not_made_anew(run: Path) -> None:
    storage = run.parent
    storage.rename(storage.with_name("away"))
    with pytest.raises(MachineError, match="unmounted"):
        Health(run).look()
    assert not storage.exists()
    storage.mkdir()  # the folder below the mount
    with pytest.raises(MachineError, match="unmounted"):
        Health(run).look()
    assert not list(storage.iterdir())
    storage.rmdir()
    storage.with_name("away").rename(storage)
    assert (storage / MARKER).is_file()


def test_a_search_that_another_process_took_over_ends(run: Path) -> None:
    with only_writer(run):
        (run / RUN_LEASE).write_text('{"token": "its own", "machine": "far/1", "pid": 7}')
        with pytest.raises(MachineError, match="taken over by process 7 on far"):
            Health(run).look()


@pytest.mark.parametrize("text", ["OSError: [Errno 28] No space left on device", "fine"])
def test_a_trial_that_met_a_full_disk_ends_the_search(text: str, run: Path) -> None:
    trial = SimpleNamespace(get_error=lambda: RuntimeError(text))
    if text == "fine":
        Health(run).on_trial_error(1, [], trial)
        return
    with pytest.raises(MachineError, match="is full, or your quota"):
        Health(run).on_trial_error(1, [], trial)
