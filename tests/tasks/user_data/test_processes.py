"""Conversion of several tasks in processes of their own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from raw import pairs, write_images, write_lines

from spaces.errors import InputError, MachineError
from tasks.user_data import processes
from tasks.user_data.prepared_benchmark import prepare_benchmark
from tasks.user_data.processes import convert_together
from tasks.user_data.raw_task import RawTask


def write_benchmark(folder: Path) -> Path:
    for task in ("one", "two"):
        write_images(folder / task / "images", 6)
        for split in ("train", "validation", "test"):
            write_lines(folder / task / f"{split}.jsonl", [pairs(n) for n in range(6)])
    entry = "{metric: exact_match, max_new_tokens: 4, images: images}"
    (folder / "tasks.yaml").write_text(f"name: b\ntasks:\n  one: {entry}\n  two: {entry}\n")
    return folder / "tasks.yaml"


def use_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let two processes convert, however few the rows and the CPUs are."""
    monkeypatch.setattr(processes, "WORTH_IT", 0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})


def test_processes_convert_to_the_same_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_benchmark(tmp_path / "data")
    alone = prepare_benchmark(file, tmp_path / "alone")
    use_processes(monkeypatch)
    together = prepare_benchmark(file, tmp_path / "together")
    assert together.name == alone.name
    assert together.read_bytes() == alone.read_bytes()
    found = sorted(p.name for p in (tmp_path / "together").iterdir())
    assert found == sorted(p.name for p in (tmp_path / "alone").iterdir())


def fail(task: RawTask, out: Path) -> Path:
    raise InputError(f"{task.name} is bad")


def die(task: RawTask, out: Path) -> Path:
    os._exit(9)


def test_the_first_error_reaches_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    use_processes(monkeypatch)
    tasks = [RawTask("one", {}), RawTask("two", {})]
    with pytest.raises(InputError, match=r"^one is bad$"):
        convert_together(fail, tasks, Path())


def test_a_killed_process_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    use_processes(monkeypatch)
    tasks = [RawTask("one", {}), RawTask("two", {})]
    with pytest.raises(MachineError, match="was killed"):
        convert_together(die, tasks, Path())
