"""Folders and records that cannot be read or are empty."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from records import (
    screen,
    write_run,
)

from search.results.run_folder import read_run_folder
from search.results.tables import (
    build_tables,
    write_tables,
)
from spaces.errors import InputError
from spaces.seals import sealed
from trainables.trial_record import TrialRecord


def test_a_missing_or_foreign_folder_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must exist"):
        read_run_folder(tmp_path / "nothing")
    with pytest.raises(InputError, match=r"with its plan\.json, and has none"):
        read_run_folder(tmp_path)
    for content, message in (
        ("{", "must hold JSON"),
        ("[]", "must hold a search's plan, got list"),
        ("{}", "names no schema"),
        ('{"schema": 2}', "was changed since it was written"),
    ):
        (tmp_path / "plan.json").write_text(content)
        with pytest.raises(InputError, match=message):
            read_run_folder(tmp_path)


def _sealed(**fields: object) -> str:
    return json.dumps(sealed({"schema": 2, "name": "0009", **fields}))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"name": "0009", "sta', "Unterminated"),
        ("[1]", "must hold a trial record, got list"),
        ('{"name": "0009"}', "names no schema"),
        ('{"schema": 1, "name": "0009"}', "has schema 1"),
        ('{"schema": 2, "name": "0009", "config": {}}', "was changed since it was written"),
        (_sealed(config={}), "state: Field required"),
        (_sealed(state="finished", config={}), "strategy"),
        (_sealed(state="odd", config={"strategy": {"name": "ewc"}}), "state: Input should be"),
        (_sealed(name="1", state="failed", config={"strategy": {"name": "ewc"}}), "holds"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_broken_record_is_skipped_and_named(tmp_path: Path, content: str, reason: str) -> None:
    folder = write_run(tmp_path / "run")
    (folder / "trials" / "0009.json").write_text(content)
    (folder / "trials" / ".0008.123").write_text("{")
    run = read_run_folder(folder)
    assert len(run.trials) == 7
    assert list(run.skipped) == ["0009.json"]
    assert reason in run.skipped["0009.json"]
    assert "0009.json" in screen(folder)


def test_a_trial_that_failed_before_its_first_stage_is_in_the_tables(tmp_path: Path) -> None:
    config = {"strategy": {"name": "replay", "ratio": 0.1}}
    dead = TrialRecord(name="0000", state="failed", config=config, message="out of memory")
    folder = write_run(tmp_path / "run", [dead])
    (row,) = build_tables(read_run_folder(folder)).trials
    assert row["state"] == "failed" and row["stages_done"] == 0
    assert "0000 failed after 0 of 0 stages" in screen(folder)


def test_a_search_without_trials_has_empty_tables(tmp_path: Path) -> None:
    written = write_tables(write_run(tmp_path / "run", []))
    assert [len(rows) for rows in written] == [0, 0, 0]
    assert "no trial yet" in screen(tmp_path / "run")
