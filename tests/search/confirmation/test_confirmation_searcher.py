"""The order in which a confirmation hands out its runs."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from confirmations import confirmation, record, written
from ray.tune.search import Searcher

from search.confirmation.finalists import FOLDER
from search.confirmation.searcher import ConfirmationProgress, ConfirmationSearcher

NEVER = {"0000": [], "0001": [], "finetune": [], "joint": []}


def test_runs_come_unit_by_unit_and_the_test_split_after_its_training(tmp_path: Path) -> None:
    made = confirmation(NEVER, units=3)
    written(made, tmp_path)
    searcher = ConfirmationSearcher(made.plan, tmp_path)
    first = [searcher.suggest(str(n)) for n in range(12)]
    assert [one["name"] for one in first[:2]] == ["unit1-0000-validation", "unit1-0001-validation"]
    assert {one["split"] for one in first} == {"validation"}
    assert first[0]["unit"] == made.plan.units[0]
    assert searcher.suggest("12") is None  # all that are known are under way
    record("unit1-0000-validation", 0.5).write(tmp_path / FOLDER)
    searcher.on_trial_complete("0", {})
    assert searcher.suggest("13")["name"] == "unit1-0000-test"


def test_the_longest_runs_come_first(tmp_path: Path) -> None:
    made = confirmation(NEVER, units=2)
    written(made, tmp_path)
    for name, seconds in (("0000", 9.0), ("0001", 40.0), ("joint", 20.0)):
        one = record(name, 0.5)
        one.model_copy(update={"metrics": {"train_seconds": seconds}}).write(tmp_path)
    searcher = ConfirmationSearcher(made.plan, tmp_path)
    names = [searcher.suggest(str(n))["name"] for n in range(8)]
    assert [name.rpartition("-")[0] for name in names] == [
        f"unit{unit}-{name}" for name in ("0001", "joint", "0000", "finetune") for unit in (1, 2)
    ]


def test_a_finished_confirmation_asks_for_nothing(tmp_path: Path) -> None:
    scores = {"0000": [0.5, 0.52, 0.49], "finetune": [0.2, 0.21, 0.2], "joint": [0.6, 0.6, 0.61]}
    made = confirmation(scores)
    written(made, tmp_path)
    assert ConfirmationSearcher(made.plan, tmp_path).suggest("0") == Searcher.FINISHED


def test_a_run_that_failed_is_left_to_the_next_session(tmp_path: Path) -> None:
    made = confirmation({"0000": [], "finetune": [0.2], "joint": [0.6]}, units=1)
    written(made, tmp_path)
    searcher = ConfirmationSearcher(made.plan, tmp_path)
    assert searcher.suggest("0")["name"] == "unit1-0000-validation"
    searcher.on_trial_complete("0", error=True)
    assert searcher.suggest("1") == Searcher.FINISHED
    assert ConfirmationSearcher(made.plan, tmp_path).suggest("0") is not None


def test_an_estimate_weighs_runs_by_their_time_in_the_search(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = confirmation({"0000": [], "joint": []}, units=1)
    written(made, tmp_path)
    for name, seconds in (("0000", 40.0), ("joint", 20.0)):
        record(name, 0.5).model_copy(update={"metrics": {"train_seconds": seconds}}).write(tmp_path)
    clock = iter((0.0, 60.0))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    progress = ConfirmationProgress(made.plan, tmp_path)
    cells = {"a": ("0000", "validation"), "b": ("joint", "validation")}
    trials = {
        key: SimpleNamespace(
            trial_id=key,
            config={"name": f"unit1-{name}-{split}", "split": split},
            last_result={"final_average": 0.5},
        )
        for key, (name, split) in cells.items()
    }
    for trial in trials.values():
        progress.on_trial_start(1, [], trial)
    record("unit1-0000-validation", 0.5).write(tmp_path / FOLDER)
    progress.on_trial_complete(1, [], trials["a"])
    # 40 s of 0000 and half of joint's 20 took 60 s; 10 s of joint and both tests (4 + 2 s) are left.
    assert "3 runs left, about 19 s" in capsys.readouterr().out
