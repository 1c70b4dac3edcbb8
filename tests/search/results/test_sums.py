from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from search.results.sums import SUMS, read_sums, summed
from spaces.errors import DamagedError


def write(folder: Path, **texts: str) -> None:
    with summed(folder, ["*.txt"]):
        for name, text in texts.items():
            (folder / f"{name}.txt").write_text(text)


def test_digests_are_those_of_sha256sum(tmp_path: Path) -> None:
    write(tmp_path, a="1", b="2")
    assert [*read_sums(tmp_path)] == ["a.txt", "b.txt"]
    if tool := shutil.which("sha256sum"):
        subprocess.run([tool, "--status", "--strict", "-c", SUMS], cwd=tmp_path, check=True)


def test_a_file_that_is_left_alone_keeps_its_digest_though_it_was_damaged(tmp_path: Path) -> None:
    write(tmp_path, a="1", b="2")
    before = read_sums(tmp_path)
    (tmp_path / "b.txt").write_text("3")
    write(tmp_path, a="4")
    after = read_sums(tmp_path)
    assert after["b.txt"] == before["b.txt"] and after["a.txt"] != before["a.txt"]


def test_there_are_no_digests_after_an_error(tmp_path: Path) -> None:
    write(tmp_path, a="1")
    with pytest.raises(OSError), summed(tmp_path, ["*.txt"]):
        assert not read_sums(tmp_path)
        raise OSError("full")
    assert not read_sums(tmp_path)


@pytest.mark.parametrize("old", ["# ", "  a.txt", "0", "\n"])
def test_a_changed_file_of_digests_is_damaged(tmp_path: Path, old: str) -> None:
    write(tmp_path, a="1")
    path = tmp_path / SUMS
    text = path.read_text()
    path.write_text(text.replace(old, "1" if old == "0" else "", 1))
    with pytest.raises(DamagedError, match="changed"):
        read_sums(tmp_path)
