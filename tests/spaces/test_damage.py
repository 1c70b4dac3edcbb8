from __future__ import annotations

from pathlib import Path

import pytest

from spaces.damage import LOG, DamageWatch, original, put_aside, set_aside
from spaces.storage import MARKER


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    for name in ("stages/blobs/ab/x.bin", "run/trials/0001.json", "data/known/a.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("damaged")
    (tmp_path / MARKER).write_text("id")
    (tmp_path / "run" / MARKER).write_text("id")
    return tmp_path


def test_one_line_tells_what_was_set_aside_and_made_again(storage: Path) -> None:
    watch = DamageWatch(storage, storage / "run")
    assert watch.lines() == []
    blob, note = storage / "stages/blobs/ab/x.bin", storage / "data/known/a.json"
    assert put_aside(blob, "its bytes are others") and set_aside(note, "its seal")
    blob.write_text("sound")
    (line,) = watch.lines()
    assert line == (
        f"set aside: 2 damaged files of data, stages, made again but for 1 (why: {storage / LOG})"
    )
    note.write_text("sound")
    assert watch.lines() == []  # it was told


def test_a_search_has_a_log_of_its_own(storage: Path) -> None:
    watch, other = DamageWatch(storage, storage / "run"), DamageWatch(storage)
    trial = storage / "run/trials/0001.json"
    set_aside(trial, "https://user:secret@host said\nno")
    log = (storage / "run" / LOG).read_text()
    assert log.endswith(": https://***@host said no\n") and log.count("\n") == 1
    (line,) = watch.lines()
    assert line.startswith("set aside: 1 damaged file of trials, not made again so far")
    assert other.lines() == []
    trial.write_text("sound")
    set_aside(trial, "again")
    trial.write_text("sound")
    assert watch.lines()[0].startswith("set aside: 1 damaged file of trials, made again (why: ")


def test_without_a_marker_the_log_lies_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("damaged")
    aside = set_aside(tmp_path / "a", "cut")
    assert aside and original(aside) == tmp_path / "a" and (tmp_path / LOG).exists()
    assert original(tmp_path / "a.damaged-once") is None
    assert set_aside(tmp_path / "gone", "cut") is None
