from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from stored import scored
from whole_storage import DAMAGES, WORKING, write_storage

from search.commands import clean
from search.results.sums import SUMS
from search.storage.file_kinds import KINDS, OTHER, kind_of
from spaces.damage import original
from trainables.store.stage_store import StageStore


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_storage(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def storage(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "storage")
    return tmp_path / "storage"


def files(storage: Path) -> list[Path]:
    """Return all files that are checked."""
    found = [path for path in sorted(storage.rglob("*")) if path.is_file()]
    return [path for path in found if path.relative_to(storage).as_posix() not in WORKING]


def verified(storage: Path, capsys: pytest.CaptureFixture[str], *flags: str) -> tuple[int, str]:
    status = clean(["--verify", "--storage", str(storage), *flags])
    return status, capsys.readouterr().out


def test_every_file_of_a_sound_storage_is_read_or_counted(
    storage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, text = verified(storage, capsys)
    assert status == 0, text
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines()[1 : len(KINDS)]}
    assert sum(int(row[0]) for row in rows.values()) == len(files(storage))
    assert all(row[0] == row[1] != "0" for row in rows.values()), text
    assert f"no search reads them again: {len(WORKING)} files" in text


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_found_in_every_kind_of_file(
    storage: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    damaged = []
    for path in files(storage):
        kind, shut = kind_of(path.relative_to(storage).as_posix())[0], name == "folder"
        if kind in ("weights", "marker") and name == "flipped":
            continue  # weights are compared with the model when they are used; an id is random
        if (kind in ("best", "result") and shut) or (kind, name) == ("journal", "cut"):
            continue  # a folder of that name may be the user's; a kill may tear the last line
        if path.name in (SUMS, "manifest.json", "rejected.jsonl"):
            continue  # the files that they name are judged by them
        DAMAGES[name](path)
        damaged.append(path)
    status, text = verified(storage, capsys)
    assert status == 1
    missed = [path for path in damaged if f"damaged: {path}: " not in text]
    assert not missed, text


@pytest.mark.parametrize("file", ["run/SHA256SUMS", "data/hue-12ab/manifest.json"])
@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_found_in_a_file_of_digests(
    storage: Path, capsys: pytest.CaptureFixture[str], name: str, file: str
) -> None:
    if (name, file) == ("folder", "run/SHA256SUMS"):
        return
    DAMAGES[name](storage / file)
    assert f"damaged: {storage / file}: " in verified(storage, capsys)[1]


@pytest.mark.parametrize(
    "file",
    [
        *("run/plan.json", "run/report.html", "run/tables/cells.csv", "run/final/scores.json"),
        "data/hue-12ab/train-00000.arrow",
    ],
)
def test_a_file_that_another_names_and_that_is_gone_is_lost(
    storage: Path, capsys: pytest.CaptureFixture[str], file: str
) -> None:
    (storage / file).unlink()
    status, text = verified(storage, capsys)
    assert status == 1 and f"lost: {storage / file}: " in text, text


def test_a_blob_a_journal_and_converted_data_that_are_gone_are_lost(
    storage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blob = next(storage.glob("stages/blobs/*/*"))
    blob.unlink()
    (storage / "run/optuna.journal").unlink()
    shutil.rmtree(storage / "data/hue-12ab")
    status, text = verified(storage, capsys)
    lost = [blob, storage / "run/optuna.journal", storage / "data/hue-12ab/manifest.json"]
    assert status == 1 and all(f"lost: {path}: " in text for path in lost), text


def test_files_of_no_known_kind_and_those_set_aside_are_counted_and_named(
    storage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (storage / "run" / "mine.txt").write_text("notes")
    (storage / "run" / "copy.yaml").write_text("model: mini\n")
    trial = storage / "run" / "trials" / "0001.json"
    trial.write_text("{")
    status, text = verified(storage, capsys, "--set-aside")
    assert status == 1 and "set aside as 0001.json.damaged-" in text
    assert "not checked, for their kind is not known: 2: run/copy.yaml, run/mine.txt" in text
    aside = next(trial.parent.glob("0001.json.damaged-*"))
    assert original(aside) == trial
    status, text = verified(storage, capsys)
    assert f"set aside before: 1: {aside.relative_to(storage)}" in text
    assert kind_of("run/mine.txt")[0] == OTHER


def test_tables_that_the_records_do_not_give_are_noted(
    storage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (storage / "run" / "trials" / "0002.json").unlink()
    text = verified(storage, capsys)[1]
    assert f"note: {storage}/run/tables/trials.arrow is not the table of the trial records" in text


def test_a_folder_that_is_no_storage_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("notes")
    assert verified(tmp_path, capsys)[0] == 2


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
