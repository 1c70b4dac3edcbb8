"""The notes of `python -m tasks.validate` about splits are those of the dry run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from raw import coco, pairs, write_images, write_json, write_lines

from tasks.data.benchmark import load_benchmark
from tasks.data.row_report import check_rows
from tasks.user_data.prepared_benchmark import prepare_benchmark
from tasks.validate import main

SPLITS, STARTS = ("train", "validation", "test"), (0, 10, 20)


def write_task(
    folder: Path, rows: dict[str, list[dict[str, Any]]], images: int = 40, **task: Any
) -> Path:
    write_images(folder, images)
    for split, of_split in rows.items():
        write_lines(folder / f"{split}.jsonl", of_split)
    values = {"path": ".", "metric": "exact_match", "max_new_tokens": 4, **task}
    (folder / "tasks.yaml").write_text(yaml.safe_dump({"tasks": {"pets": values}}))
    return folder / "tasks.yaml"


def notes_of_both(file: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the notes, which must be those of the dry run's check of the converted rows."""
    assert main([str(file)]) == 0
    text = capsys.readouterr().out
    found = [line[12:] for line in text.splitlines() if line.startswith("note        ")]
    prepared = prepare_benchmark(file, file.parent / "out")
    assert found == list(check_rows(load_benchmark(prepared)).notes)
    capsys.readouterr()
    return found


def numbered(make: Any, *numbers: int) -> list[dict[str, Any]]:
    return [make(number) for number in numbers]


def test_examples_in_two_splits_and_tiny_splits_are_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {"train": range(12), "validation": range(8, 14), "test": range(20, 32)}
    file = write_task(tmp_path, {split: numbered(pairs, *r) for split, r in rows.items()})
    notes = notes_of_both(file, capsys)
    assert len(notes) == 2
    assert notes[0].startswith("pets: 4 of 6 distinct examples of validation are in train, too")
    assert notes[1].startswith("pets: validation has 6 examples")


def test_pictures_in_two_splits_are_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {split: numbered(pairs, *range(12)) for split in SPLITS}
    for split, of_split in rows.items():
        for row in of_split:
            row["prompt"] = f"What is it, in {split}?"
    notes = notes_of_both(write_task(tmp_path, rows), capsys)
    assert notes[0] == "pets: 12 of 12 pictures of validation are in train, too"
    assert len(notes) == 3


def test_answers_of_a_closed_task_that_train_lacks_are_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {
        split: numbered(pairs, *range(n, n + 10)) for n, split in zip(STARTS, SPLITS, strict=True)
    }
    rows["test"][3]["answer"] = "horse"
    notes = notes_of_both(write_task(tmp_path, rows, closed=True), capsys)
    assert len(notes) == 1 and notes[0].startswith("pets: closed, but 1 of 10 answers of test are")
    assert "'horse'" in notes[0]


def test_splits_that_the_conversion_makes_are_noted_as_it_makes_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    split = {"validation": 4, "test": 12}
    notes = notes_of_both(
        write_task(tmp_path, {"train": numbered(pairs, *range(30))}, split=split), capsys
    )
    assert len(notes) == 1 and notes[0].startswith("pets: validation has 4 examples")


def test_limits_and_several_captions_count_as_in_the_conversion(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path, 12)
    for split in SPLITS:
        write_json(tmp_path / f"{split}.json", coco(12))
    limit = {"validation": 5, "test": 11}
    values = {"path": ".", "metric": "cider", "max_new_tokens": 9, "limit": limit}
    values["prompt"] = "Describe it."
    (tmp_path / "tasks.yaml").write_text(yaml.safe_dump({"tasks": {"words": values}}))
    notes = notes_of_both(tmp_path / "tasks.yaml", capsys)
    assert any("validation has 5 examples" in note for note in notes), notes
    assert any("in train, too" in note for note in notes)


def test_a_folder_without_a_benchmark_file_has_notes_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path, 12)
    for split in SPLITS:
        write_lines(tmp_path / f"{split}.jsonl", numbered(pairs, *range(12)))
    assert main([str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert f"note        {tmp_path.name}: 12 of 12 distinct examples of test are in train" in text
    assert main([str(tmp_path), "--limit", "3"]) == 0
    assert "note        with --limit, nobody knows" in capsys.readouterr().out


def test_good_splits_have_no_notes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = {
        split: numbered(pairs, *range(n, n + 10)) for n, split in zip(STARTS, SPLITS, strict=True)
    }
    assert notes_of_both(write_task(tmp_path, rows, closed=True), capsys) == []
