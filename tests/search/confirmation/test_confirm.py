"""A real search, confirmed by the command, and confirmed again after a run was lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from searches import ran
from toy import ADAPTER, TRAINING, Toy

from search.confirmation.finalists import FOLDER, read_confirmation


@pytest.fixture(scope="module")
def confirmed(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return a search of replay that draws nothing and of two EWC that hold nothing, with its output."""
    root = tmp_path_factory.mktemp("confirmed")
    plan = {
        **{
            "benchmark": str(toy.benchmark),
            "model": str(toy.model),
            "strategies": ["replay", "ewc"],
        },
        **{"tasks": ["hue", "light", "half"], "orderings": "hue>light>half", "samples": 4},
        **{"training": TRAINING, "adapter": ADAPTER, "concurrent": 1, "stopping": "none"},
        **{"confirm": 4, "confirm_seeds": 3, "balanced": True},
        "space": {"replay.ratio": 0.01, "ewc.strength": 0.0, "ewc.decay": [0.0, 1.0]},
    }
    (root / "plan.yaml").write_text(yaml.safe_dump(plan))
    run = root / "out" / "it"
    flags = ("--plan", root / "plan.yaml", "--storage", run.parent, "--name", run.name)
    return run, ran("run", *flags, cwd=root)


@pytest.mark.slow
def test_strategies_that_do_nothing_are_not_told_apart_from_finetune(
    confirmed: tuple[Path, str],
) -> None:
    run, said = confirmed
    assert "Nothing is surely better than plain tuning." in said
    assert "(trial 0003) and finetune are not told apart over 3 orderings and seeds" in said
    plan = read_confirmation(run)
    assert plan is not None
    assert len(plan.units) == 3
    off = [one.config["strategy"] for one in plan.finalists if one.strategy == "ewc"]
    assert {(one["strength"], one["decay"]) for one in off} == {(0.0, 0.0), (0.0, 1.0)}
    names = {path.stem for path in (run / FOLDER / "trials").glob("*.json")}
    assert len(names) == 6 * 3 * 2
    for unit in (1, 2, 3):  # at ratio .01, no example of these tasks is drawn
        same = [f"unit{unit}-{name}-validation" for name in ("0000", "0001", "0003", "finetune")]
        found = [json.loads((run / FOLDER / "trials" / f"{n}.json").read_text()) for n in same]
        assert all(one["matrices"] == found[0]["matrices"] for one in found)
    scores = {json.loads((run / FOLDER / "trials" / f"{n}.json").read_text())["metrics"]["final_average"]
              for n in ("unit1-finetune-validation", "unit2-finetune-validation")}  # fmt: skip
    assert len(scores) == 2  # another seed and another ordering


@pytest.mark.slow
def test_the_same_command_goes_on_with_a_confirmation(confirmed: tuple[Path, str]) -> None:
    run, said = confirmed
    lost = run / FOLDER / "trials" / "unit2-joint-test.json"
    before = json.loads(lost.read_text())["matrices"]
    lost.unlink()
    again = ran("confirm", run, cwd=run)
    assert json.loads(lost.read_text())["matrices"] == before
    assert again.splitlines()[-1] in said
    shown = ran("analyze", run, cwd=run)
    assert "Confirmed on orderings and seeds that chose nothing:" in shown
