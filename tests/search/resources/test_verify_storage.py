from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
import torch
from records import write_run
from stored import scored, trained

from search.commands import clean
from search.tuning.journal import STUDY, open_journal
from trainables.store.stage_store import StageStore


def flip(path: Path) -> None:
    stat, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-7]),
    "emptied": lambda path: path.write_bytes(b""),
    "flipped": flip,
    "nested": lambda path: path.write_text("[" * 100_000),
    "folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    write_run(tmp_path / "run")
    study = optuna.create_study(study_name=STUDY, storage=open_journal(tmp_path / "run"))
    study.set_user_attr("some", "value")
    store = StageStore(tmp_path / "stages")
    store.put("ab12", trained(), {"w": torch.arange(64.0)})
    store.put("ab34", scored(0.5))
    store.put("ab56", scored(0.75))
    return tmp_path


def files(storage: Path) -> list[Path]:
    found = [*storage.glob("stages/*/*/*.json"), *storage.glob("stages/*/*/*.safetensors")]
    return [
        *found,
        storage / "run" / "trials" / "0001.json",
        storage / "run" / "plan.json",
        storage / "run" / "optuna.journal",
    ]


def test_every_kind_of_damage_is_found_in_every_kind_of_file(
    storage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(len(files(storage))):
        path = sorted(files(storage))[number]
        for name, damage in DAMAGES.items():
            if (name, path.suffix) == ("cut", ".journal"):
                continue  # a kill may tear the last line, which then never counted
            content = path.read_bytes()
            damage(path)
            assert clean(["--verify", "--storage", str(storage), "--set-aside"]) == 1, (name, path)
            assert f"damaged: {path}" in capsys.readouterr().out, (name, path)
            path.write_bytes(content)


def test_two_records_that_changed_places_are_found(storage: Path) -> None:
    one, other = (storage / f"stages/records/ab/{key}.json" for key in ("ab34", "ab56"))
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    store = StageStore(storage / "stages")
    assert store.get("ab34") is None and store.get("ab56") is None
    assert len([*one.parent.glob("*.damaged-*")]) == 2
    store.put("ab34", scored(0.5))
    assert store.get("ab34") == scored(0.5)


def test_a_score_without_its_value_is_no_score(storage: Path) -> None:
    path = storage / "stages/records/ab/ab34.json"
    for value in (None, 1e308, 0.6):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"score": value}))
        store = StageStore(storage / "stages")
        assert store.get("ab34") is None
        store.put("ab34", scored(0.5))
    assert clean([str(storage), "--verify"]) == 0
