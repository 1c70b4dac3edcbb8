"""Searches with general tasks, by their commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from searches import ran, write_plan
from toy import Toy

from search.results.outcome import read_outcome
from trainables.metrics.score_matrix import ScoreMatrix

GENERAL = ("emoji_kind", "clipart_kind", "sign_kind")
"""Tasks that the embedded model `llava-instructed` has learned."""


@pytest.mark.slow
def test_a_strategy_that_keeps_its_tasks_may_lose_general_ability(tmp_path: Path) -> None:
    """Replay holds the tasks that it replays, and nothing holds what the model could before."""
    plan = {
        **{"extends": "default", "model": "llava-instructed", "initial": "none"},
        **{"tasks": ["animal", "digit"], "orderings": "given", "general": [*GENERAL]},
        **{"strategies": ["replay"], "samples": 1, "space": {"replay.ratio": 0.3}},
        "confirm": 0,
        "objectives": ["final_average", "forgetting", "general_drift"],
    }
    (tmp_path / "general.yaml").write_text(yaml.safe_dump(plan))
    flags = ("--plan", "general.yaml", "--storage", tmp_path / "out", "--name", "run")
    said = ran("run", *flags, cwd=tmp_path)
    print(said[said.index("strategy") :])
    outcome = read_outcome(tmp_path / "out" / "run")
    replay, floor = outcome.strategies["replay"], outcome.strategies["finetune"]
    joint = outcome.strategies["joint"]
    assert floor["forgetting"] > 0.15
    assert replay["forgetting"] < 0.1
    assert replay["final_average"] > max(0.3, floor["final_average"] + 0.1)
    assert replay["final_average"] > 0.9 * joint["final_average"]
    before = replay["general_average"] + replay["general_drift"]
    assert before > 0.6
    assert replay["general_drift"] > 0.4
    assert replay["general_kl"] > 0.5
    assert "0000 loses general ability" in said


@pytest.mark.slow
def test_the_final_training_reproduces_and_scores_them(toy: Toy, tmp_path: Path) -> None:
    plan = write_plan(
        tmp_path / "toy.yaml",
        toy,
        **{"tasks": ["hue", "light"], "general": ["half"], "orderings": "given"},
        **{"strategies": ["replay"], "samples": 1},
        space={"replay.ratio": {"low": 0.1, "high": 0.3}},
    )
    run = tmp_path / "out" / "run"
    ran("run", "--plan", plan, "--storage", tmp_path / "out", "--name", "run", cwd=tmp_path)
    ran("export", run, cwd=tmp_path)
    said = ran("train", run / "best.yaml", "--out", tmp_path / "final", cwd=tmp_path)
    assert "reproduced  exactly" in said
    assert "general average" in said
    scores = json.loads((tmp_path / "final" / "scores.json").read_text())
    for split in ("validation", "test"):
        matrix = ScoreMatrix.from_dict(scores[split][0])
        assert (matrix.tasks, matrix.general) == (("hue", "light"), ("half",))
        assert matrix.general_drift() == matrix.general_drift()
