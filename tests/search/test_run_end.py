"""Tests of the end of a search: by a signal, its time budget, a full disk, or without an answer."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from records import TASKS, record, write_run

from search import interruption, run_end
from search.interruption import InterruptedSearch, signal_behind
from search.run_end import ROOT, Ending, show_end, write_results
from spaces.damage import DamageWatch
from spaces.errors import MachineError
from trainables.metrics.score_matrix import ScoreMatrix


def test_a_signal_keeps_its_name_when_ray_forgets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interruption, "caught", [])
    assert signal_behind(KeyboardInterrupt()) == signal.SIGINT
    assert signal_behind(InterruptedSearch(signal.SIGHUP)) == signal.SIGHUP
    interruption.caught.append(signal.SIGTERM)
    assert signal_behind(KeyboardInterrupt()) == signal.SIGTERM


def test_a_new_program_ends_a_search_with_the_status_of_its_signal(tmp_path: Path) -> None:
    parts = ("from pathlib import Path", "from search import run_end")
    code = "; ".join((*parts, f"run_end.end_in_new_program(Path({str(tmp_path)!r}), 15)"))
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=300)
    assert ended.returncode == 143
    assert "interrupted by SIGTERM" in ended.stdout
    assert "--resume" in ended.stdout


@pytest.fixture
def damage(tmp_path: Path) -> DamageWatch:
    return DamageWatch(tmp_path)


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("when", ["before", "tables", "report"])
def test_a_disk_that_is_full_at_the_report_is_one_line_and_loses_no_trial(
    when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_run(tmp_path / "run")
    before = {path: path.read_bytes() for path in (run / "trials").iterdir()}
    if when == "before":
        monkeypatch.setattr(run_end, "fits_on_disk", lambda *_: False)
    else:
        monkeypatch.setattr(run_end, f"write_{when}", full)
    with pytest.raises(MachineError, match=r"every trial is safe.*search/analyze\.py") as error:
        write_results(run, Ending())
    assert "\n" not in str(error.value)
    assert {path: path.read_bytes() for path in (run / "trials").iterdir()} == before


def test_a_time_budget_without_a_finished_trial_names_resume_and_has_status_1(
    tmp_path: Path, damage: DamageWatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run", [record("0000", state="running")])
    assert show_end(run, Ending(unended=7, budget=5.0), 0, damage, 27.0) == 1
    said = capsys.readouterr().out
    assert "The time budget of 5 s ended with 7 trials to go" in said
    assert "--resume --name run" in said and "--time-budget 600 goes on" in said
    assert "No answer: no trial has finished." in said


SCORES = {"nothing": 0.0, "as untrained": 0.1, "below untrained": 0.05, "well": 0.8}


@pytest.mark.parametrize("how", SCORES)
def test_a_search_whose_best_learned_nothing_has_status_1(
    how: str, tmp_path: Path, damage: DamageWatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {n: dict.fromkeys(TASKS, SCORES[how] if n else 0.1) for n in range(len(TASKS) + 1)}
    matrix = ScoreMatrix.from_rows(TASKS, rows)
    run = write_run(tmp_path / "run", [record("0000", matrices=[matrix], knobs={"ratio": 0.1})])
    assert show_end(run, Ending(), 0, damage, 1.0) == (how != "well")
    assert ("No answer" in capsys.readouterr().out) == (how != "well")


def test_trials_that_failed_are_named_with_the_command_that_tries_them_again(
    tmp_path: Path, damage: DamageWatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run")
    assert show_end(run, Ending(failed=["0003"]), 0, damage, 1.0) == 0
    said = capsys.readouterr().out
    assert "Failed: 0003; " in said and "--resume --name run" in said and "tries them again" in said


SIGNALLED = """
import os, signal, sys
from search.interruption import InterruptedSearch, interruptible

signum = int(sys.argv[1])
if sys.argv[2] == "ignored":
    signal.signal(signum, signal.SIG_IGN)
try:
    with interruptible():
        os.kill(os.getpid(), signum)
        sys.exit(0)
except InterruptedSearch as error:
    print("writes tables", flush=True)
    if sys.argv[2] == "twice":
        os.kill(os.getpid(), signum)
    sys.exit(error.status)
"""


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("how", ["once", "twice", "ignored"])
def test_a_signal_leaves_time_for_the_tables_and_a_second_one_ends_at_once(
    signum: int, how: str
) -> None:
    command = [sys.executable, "-c", SIGNALLED, str(int(signum)), how]
    ended = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=300)
    status = {"once": 128 + signum, "twice": -signum, "ignored": 0}  # nohup wants to live on
    assert ended.returncode == status[how]
    assert ("writes tables" in ended.stdout) == (how != "ignored")
