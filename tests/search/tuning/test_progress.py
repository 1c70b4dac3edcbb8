from __future__ import annotations

import io
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray import cloudpickle
from records import OBJECTIVES, record, write_run
from rich.console import Console

from search.tuning import progress as module
from search.tuning.progress import Progress


class Broken(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError("the terminal has gone")


def trial(name: str, strategy: str = "replay") -> Any:
    return SimpleNamespace(config={"name": name, "trial": {"strategy": {"name": strategy}}})


def result(done: int, state: str = "running", took: float = 4.0, **metrics: float) -> Any:
    return {
        "state": state,
        "stages_done": done,
        "stages": [stage > 0 for stage in range(done)],  # the first one is in the store
        "time_this_iter_s": took,
        "final_average": metrics.get("final_average", float("nan")),
        "forgetting": metrics.get("forgetting", float("nan")),
    }


def progress_of(tmp_path: Path, file: io.StringIO | None = None, **terminal: Any) -> Progress:
    console = Console(file=file or io.StringIO(), highlight=False, **{"width": 100} | terminal)
    return Progress(tmp_path, 5, 6, 2, OBJECTIVES, console)


def walk(progress: Progress, name: str, strategy: str, done: int, end: dict[str, Any]) -> None:
    for stage in range(1, done):
        progress.on_trial_result(0, [], trial(name, strategy), result(stage))
    progress.on_trial_result(0, [], trial(name, strategy), end)
    progress.on_trial_complete(0, [], trial(name, strategy))


def finished(final: float, forgetting: float) -> dict[str, Any]:
    return result(6, "finished", final_average=final, forgetting=forgetting)


def test_the_status_counts_trials_and_stages_and_names_the_best_and_the_references(
    tmp_path: Path,
) -> None:
    progress = progress_of(tmp_path)
    walk(progress, "finetune", "finetune", 6, finished(0.4, 0.3))
    walk(progress, "0000", "replay", 6, finished(0.6, 0.1))
    walk(progress, "0001", "ewc", 2, result(2))
    progress.on_trial_result(0, [], trial("0002"), result(3))
    status = progress.status()
    assert "trials 2 finished, 1 stopped, 1 running of 5" in status
    assert "stages 17 of 25 (4 from the store, 4 skipped)" in status
    assert "best replay 0000: final_average 0.600, forgetting 0.100" in status
    assert "floor finetune 0.400" in status and "ceiling" not in status
    assert progress.state.stages_left == 3 + 1, "joint tuning is one stage"


def test_joint_tuning_is_the_ceiling_and_never_the_best(tmp_path: Path) -> None:
    out = io.StringIO()
    progress = progress_of(tmp_path, out)
    joint = finished(0.9, float("nan")) | {"stages": [True]}
    progress.on_trial_result(0, [], trial("joint", "joint"), joint)
    assert "ceiling joint 0.900" in progress.status()
    assert "best" not in progress.status()
    assert "stages 1 of 25 ·" in progress.status()
    progress.on_trial_complete(0, [], trial("joint", "joint"))
    assert "(1 of 1 stages, 0 from the store)" in out.getvalue()


def test_an_unfinished_trial_is_never_the_best(tmp_path: Path) -> None:
    progress = progress_of(tmp_path)
    walk(progress, "0000", "ewc", 3, result(3, final_average=0.99, forgetting=0.0))
    assert progress.state.best() is None


def test_time_left_is_estimated_from_stages_that_were_trained(tmp_path: Path) -> None:
    progress = progress_of(tmp_path)
    assert "estimating time left" in progress.status()
    progress.on_trial_result(0, [], trial("0000"), result(1, took=0.0))
    assert "estimating time left" in progress.status(), "the pace of shared stages is no estimate"
    for stage, took in ((2, 40.0), (3, 4.0), (4, 4.0)):  # the second includes the lane's start
        progress.on_trial_result(0, [], trial("0000"), result(stage, took=took))
    assert progress.state.seconds_left() == pytest.approx((4.0 * 3 / 4) * 21 / 2)
    assert "about 32 s left" in progress.status()


def test_a_log_gets_a_line_a_trial_and_the_status_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(module.time, "monotonic", lambda: clock.now)
    out = io.StringIO()
    progress = progress_of(tmp_path, out)
    progress.setup()
    for stage in range(1, 30):
        clock.now += 1.0
        progress.on_trial_result(0, [], trial("0000"), result(stage % 6))
        progress.on_step_end(0, [])
    assert len(out.getvalue().splitlines()) == 2
    walk(progress, "0000", "replay", 6, finished(0.6, 0.1))
    line = out.getvalue().splitlines()[2]
    assert line == (
        "finished: replay 0000: final_average 0.600, forgetting 0.100 "
        "(6 of 6 stages, 1 from the store)"
    )
    assert "\x1b" not in out.getvalue()


def test_diverged_and_failed_trials_are_counted(tmp_path: Path) -> None:
    out = io.StringIO()
    progress = progress_of(tmp_path, out)
    walk(progress, "0000", "ewc", 2, result(2, "diverged"))
    progress.on_trial_error(0, [], trial("0001"))
    assert "2 failed, 0 running" in progress.status()
    assert "diverged: ewc 0000" in out.getvalue() and "failed: replay 0001" in out.getvalue()


def test_a_resumed_search_counts_the_trials_that_ended(tmp_path: Path) -> None:
    write_run(tmp_path, [record("0000"), record("0001", state="running")])
    progress = progress_of(tmp_path)
    progress.setup(stop=None, num_samples=4, total_num_samples=4)
    assert "trials 1 finished, 0 stopped, 0 running" in progress.status()
    assert "best replay 0000" in progress.status()


def test_a_terminal_is_drawn_in_place_and_restored(tmp_path: Path) -> None:
    out = io.StringIO()
    progress = progress_of(tmp_path, out, force_terminal=True)
    progress.setup()
    walk(progress, "0000", "replay", 6, finished(0.6, 0.1))
    progress.on_experiment_end([])
    progress.close()
    assert "\x1b[?25l" in out.getvalue(), "the cursor is hidden"
    assert out.getvalue().rstrip().endswith("\x1b[?25h") or "\x1b[?25h" in out.getvalue()
    assert "trials 1 finished" in out.getvalue()


def test_the_view_has_a_bar_and_a_line_for_each_thing(tmp_path: Path) -> None:
    progress = progress_of(tmp_path, width=100)
    walk(progress, "finetune", "finetune", 6, finished(0.4, 0.3))
    with progress.console.capture() as capture:
        progress.console.print(progress.view())
    lines = capture.get().splitlines()
    assert [line.split(" ")[0] for line in lines[1:]] == "trials stages best floor 0.0".split()
    assert lines[0].strip("━╺╸ ") == "", "nothing stands on the bar's line"


@pytest.mark.parametrize("terminal", [True, False])
def test_a_broken_terminal_does_not_end_the_search(
    tmp_path: Path, terminal: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = progress_of(tmp_path, Broken(), force_terminal=terminal)
    progress.setup()
    walk(progress, "0000", "replay", 6, finished(0.6, 0.1))
    progress.on_trial_complete(0, [], SimpleNamespace(config={}))
    progress.on_experiment_end([])
    assert capsys.readouterr().out.count("the search goes on") == 1


@pytest.mark.parametrize("pickler", [pickle, cloudpickle])
def test_tune_can_save_it_while_it_is_drawn(tmp_path: Path, pickler: Any) -> None:
    progress = progress_of(tmp_path, force_terminal=True)
    progress.setup()
    walk(progress, "0000", "replay", 6, finished(0.6, 0.1))
    again = pickler.loads(pickler.dumps(progress))
    progress.close()
    assert again.state.best().name == "0000"
