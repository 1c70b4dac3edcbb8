"""The marker of a storage: nothing is written where it is not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from spaces import storage
from spaces.files import replacing, write_atomically
from spaces.storage import (
    MARKER,
    StorageGoneError,
    check_storage,
    is_there,
    mark_storage,
    release_storage,
    try_folder,
)
from trainables.store.leases import hold_lease


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    root = tmp_path / "mounted" / "storage"
    yield root
    release_storage(root)


def test_a_new_storage_is_marked_and_an_old_one_keeps_its_id(root: Path) -> None:
    first = mark_storage(root)
    assert len(first) == 32
    assert [file.name for file in root.iterdir()] == [MARKER]
    assert mark_storage(root) == first
    write_atomically(root / "a" / "b.json", "{}")
    assert (root / "a" / "b.json").read_text() == "{}"


def test_nothing_is_made_where_the_storage_was(root: Path) -> None:
    mark_storage(root)
    root.rename(root.with_name("away"))
    with pytest.raises(StorageGoneError, match="unmounted"):
        write_atomically(root / "a" / "b.json", "{}")
    with pytest.raises(StorageGoneError), replacing(root / "b.json"):
        pass
    with pytest.raises(StorageGoneError), hold_lease(root / "run" / "lease"):
        pass
    assert not root.exists()
    root.mkdir()  # the folder below the mount
    with pytest.raises(StorageGoneError):
        check_storage(root / "stages" / "x")
    assert not list(root.iterdir())
    root.rmdir()
    root.with_name("away").rename(root)
    write_atomically(root / "a" / "b.json", "{}")


def test_another_storage_in_its_place_is_not_it(root: Path) -> None:
    storage_id = mark_storage(root)
    (root / MARKER).write_text("another")
    with pytest.raises(StorageGoneError):
        write_atomically(root / "b.json", "{}")
    assert not is_there(root, storage_id)


def test_other_folders_are_none_of_its_business(root: Path, tmp_path: Path) -> None:
    mark_storage(root)
    (root / MARKER).unlink()
    write_atomically(tmp_path / "mounted" / "storage2" / "b.json", "{}")
    write_atomically(tmp_path / "c.json", "{}")


def test_a_marker_needs_no_hard_links(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("hard links are not supported")

    monkeypatch.setattr(storage.os, "link", refuse)
    mark_storage(root)
    assert os.listdir(root) == [MARKER]


def test_a_folder_is_tried_by_writing(tmp_path: Path) -> None:
    assert not try_folder(tmp_path / "a" / "b")
    assert not list(tmp_path.iterdir())
    assert try_folder(Path("/proc/x"))
    (tmp_path / "file").write_text("")
    assert try_folder(tmp_path / "file" / "x")
