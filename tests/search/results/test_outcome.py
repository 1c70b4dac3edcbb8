"""The outcome on the terminal and in words."""

from __future__ import annotations

from pathlib import Path

from records import (
    ORDERINGS,
    joint_matrix,
    matrix,
    record,
    references,
    sampled,
    screen,
    write_run,
)

from search.results.outcome import read_outcome


def test_the_screen_shows_labels_front_costs_and_the_next_command(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    text = screen(folder)
    lines = text.splitlines()
    (replay,) = [line for line in lines if line.startswith("replay  ")]
    assert "best" in replay and "front (1)" in replay and "±" in replay
    assert any(line.startswith("finetune") and "floor" in line for line in lines)
    assert any(line.startswith("joint") and "ceiling" in line for line in lines)
    assert "ratio=0.2" in text
    assert "taken from the store" in text
    assert f"python search/export.py {folder}" in text
    assert "\x1b" not in text
    assert all(len(line) <= 100 for line in lines if str(folder) not in line)


def test_names_with_markup_are_printed_unchanged(tmp_path: Path) -> None:
    trial = record("0000", "[red]mine[/]", matrices=[matrix(["[bold]a", "b"], 0.8, 0.9)])
    assert "[red]mine[/]" in screen(write_run(tmp_path / "run", [trial]))


def test_the_summary_names_the_leader_beside_the_references_and_closes_no_gap(
    tmp_path: Path,
) -> None:
    text = read_outcome(write_run(tmp_path / "run")).summary()
    assert text.startswith("replay (trial 0002) leads the search")
    assert "which is optimistic, for it chose the trial; plain finetune 0." in text
    assert "joint tuning 0.850, one run." in text
    assert "%" not in text
    assert "It forgets" in text


def test_the_summary_says_that_no_strategy_beats_finetune(tmp_path: Path) -> None:
    poor = record("0000", matrices=[matrix(o, 0.3, 0.4) for o in ORDERINGS])
    floor = record("finetune", "finetune", [matrix(o, 0.8, 0.5) for o in ORDERINGS])
    text = read_outcome(write_run(tmp_path / "run", [poor, floor])).summary()
    assert "no strategy of this search beats plain finetune" in text


def test_joint_tuning_below_finetune_is_not_called_a_ceiling(tmp_path: Path) -> None:
    floor, _ = references()
    low = record("joint", "joint", [joint_matrix(o, 0.2) for o in ORDERINGS])
    text = read_outcome(write_run(tmp_path / "run", [floor, low, *sampled()])).summary()
    assert "does not exceed finetune, so this search has no ceiling" in text


def test_a_winner_equal_to_finetune_is_not_praised(tmp_path: Path) -> None:
    idle = record("0000", "replay", [matrix(o, 0.8, 0.5) for o in ORDERINGS])
    text = read_outcome(write_run(tmp_path / "run", [*references(), idle])).summary()
    assert "the same as plain finetune." in text
    assert "joint" not in text


def test_negative_forgetting_is_called_a_gain(tmp_path: Path) -> None:
    helped = record("0000", "replay", [matrix(o, 0.5, 1.1) for o in ORDERINGS])
    text = read_outcome(write_run(tmp_path / "run", [*references(), helped])).summary()
    assert "It forgets nothing, and gains 0." in text


def test_the_screen_names_the_unfinished_trials(tmp_path: Path) -> None:
    assert "Unfinished" not in screen(write_run(tmp_path / "whole"))
    cut = record("0003", knobs={"ratio": 0.1}, state="running")
    text = screen(write_run(tmp_path / "cut", [*references(), *sampled()[:2], cut]))
    assert "Unfinished: 0003; " in text and "--resume goes on with them" in text
