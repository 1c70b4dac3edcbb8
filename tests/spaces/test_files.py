from __future__ import annotations

import os
from pathlib import Path

import pytest

from spaces.files import fits_on_disk, replacing, write_atomically


@pytest.mark.parametrize("durable", (True, False))
def test_a_file_is_replaced_whole_and_nothing_stays_beside_it(
    tmp_path: Path, durable: bool
) -> None:
    path = tmp_path / "new" / "a.json"
    for content in ("one", b"two"):
        write_atomically(path, content, durable)
    assert path.read_bytes() == b"two"
    assert os.listdir(path.parent) == ["a.json"]


def test_a_failure_leaves_the_old_file_and_no_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_atomically(path, "old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.json"]


def test_two_writers_of_one_file_use_different_temporary_files(tmp_path: Path) -> None:
    with replacing(tmp_path / "a") as one, replacing(tmp_path / "a") as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert (tmp_path / "a").read_text() == "one"


def test_the_first_of_two_writers_stays_without_overwriting(tmp_path: Path) -> None:
    with replacing(tmp_path / "a", overwrite=False) as one:
        one.write_text("one")
        write_atomically(tmp_path / "a", "other")
    assert (tmp_path / "a").read_text() == "other"
    with replacing(tmp_path / "b", overwrite=False) as one:
        one.write_text("one")
    assert (tmp_path / "b").read_text() == "one"
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_a_file_larger_than_the_disk_does_not_fit(tmp_path: Path) -> None:
    assert fits_on_disk(tmp_path, 1)
    assert not fits_on_disk(tmp_path, 1e18)
