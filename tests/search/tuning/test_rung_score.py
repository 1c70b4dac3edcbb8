from __future__ import annotations

import statistics
from pathlib import Path

import pytest
from trial_files import write_trial

from search.tuning.rung_score import CeilingScale, stage_scores


def test_every_task_counts_alike_whatever_its_metric_runs_to(tmp_path: Path) -> None:
    write_trial(
        tmp_path, "joint", "finished", final={"caption": 8.0, "color": 0.5, "hopeless": 0.0}
    )
    scale = CeilingScale(tmp_path).read()
    assert scale == {"caption": 8.0, "color": 0.5}
    seen = [{"caption": 4.0}, {"caption": 2.0, "color": 0.5, "hopeless": 0.3}]
    expected = [0.5, (0.25 + 1.0 + 0.3) / 3]
    assert stage_scores(seen, scale) == pytest.approx(expected)


def test_without_a_scale_stage_scores_are_plain_means() -> None:
    seen = [{"a": 0.2}, {"a": 0.4, "b": 0.6}]
    assert stage_scores(seen, {}) == [0.2, statistics.fmean([0.4, 0.6])]


def test_a_task_that_joint_tuning_hardly_learned_decides_nothing_alone(tmp_path: Path) -> None:
    write_trial(tmp_path, "joint", "finished", final={"easy": 0.9, "hard": 0.01})
    assert CeilingScale(tmp_path).read() == pytest.approx({"easy": 0.9, "hard": 0.0455})


def test_the_scale_is_read_again_after_joint_tuning_failed_once(tmp_path: Path) -> None:
    write_trial(tmp_path, "joint", "failed")
    scale = CeilingScale(tmp_path)
    assert scale.read() == {}
    write_trial(tmp_path, "joint", "finished", final={"t": 0.5})
    assert scale.read() == {"t": 0.5}
