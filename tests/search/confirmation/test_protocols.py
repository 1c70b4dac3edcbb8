"""A real search of first stages, confirmed on whole orderings of tasks that it never trained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from searches import ran, trials
from toy import ADAPTER, PROMPTS, TRAINING, Toy

from search.commands import confirm, export, train
from search.confirmation.finalists import FOLDER, read_confirmation
from search.plan.saved_plan import read_saved_plan

HELD_OUT = ("hue2", "light2", "half2")


def six_tasks(folder: Path, toy: Toy) -> Path:
    """Write a benchmark with each toy task under two names; return its file."""
    task = {"metric": "exact_match", "max_new_tokens": 6, "closed": True}
    tasks = {name: {**task, "path": str(toy.benchmark / name)} for name in PROMPTS}
    tasks |= {f"{name}2": dict(entry) for name, entry in tasks.items()}
    path = folder / "benchmark.yaml"
    path.write_text(yaml.safe_dump({"name": "six", "order": list(tasks), "tasks": tasks}))
    return path


@pytest.mark.slow
def test_a_search_of_first_stages_is_confirmed_on_tasks_held_out(
    toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = {
        **{"benchmark": str(six_tasks(tmp_path, toy)), "model": str(toy.model)},
        **{"strategies": ["replay"], "samples": 1, "concurrent": 1, "stopping": "none"},
        **{"confirm": 1, "confirm_seeds": 3},
        **{"orderings": "given+reverse", "held_out_tasks": [*HELD_OUT], "search_stages": 2},
        **{"training": {**TRAINING, "epochs": 1}, "adapter": ADAPTER},
    }
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    run = tmp_path / "out" / "it"
    flags = ("--plan", tmp_path / "plan.yaml", "--storage", run.parent, "--name", run.name)
    said = ran("run", *flags, cwd=tmp_path)
    protocol = "tasks held out: hue2, light2, half2; first 2 of 3 tasks"
    assert f"protocol    {protocol}: a confirmation trains orderings of those" in said
    assert f"Protocol: {protocol}." in said
    assert read_saved_plan(run).protocol == protocol
    assert protocol in (run / "report.html").read_text()
    searched = trials(run).values()
    # finetune and replay share their first stages; joint tuning has a stage for each ordering.
    assert sum(stage["trained"] for one in searched for stage in one["stages"]) <= 2 + 2 + 2 + 2
    for record in searched:
        assert [m["tasks"] for m in record["matrices"]] == [["hue", "light"], ["half", "light"]]
    assert "orderings and seeds, on tasks that chose nothing" in said
    made = read_confirmation(run)
    assert made is not None
    assert [sorted(unit["ordering"]) for unit in made.units] == [sorted(HELD_OUT)] * 3
    for file in (run / FOLDER / "trials").glob("*.json"):
        (matrix,) = json.loads(file.read_text())["matrices"]
        assert sorted(matrix["tasks"]) == sorted(HELD_OUT)
    capsys.readouterr()
    assert confirm([str(run), "--dry-run"]) == 0
    assert f"unit 1    {'>'.join(made.units[0]['ordering'])}" in capsys.readouterr().out
    assert export([str(run)]) == 0
    assert train([str(run / "best.yaml")]) == 0  # in this process: it needs no Ray
    said = capsys.readouterr().out
    assert "reproduced  exactly: 2 matrices equal those of the search" in said
    assert "training    6/6  half>light>hue" in said
