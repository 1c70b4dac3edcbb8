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
    """Return a search of replay that draws nothing, and what its confirmation printed."""
    root = tmp_path_factory.mktemp("confirmed")
    plan = {
        **{"benchmark": str(toy.benchmark), "model": str(toy.model), "strategies": ["replay"]},
        **{"tasks": ["hue", "light", "half"], "orderings": "hue>light>half", "samples": 1},
        **{"training": TRAINING, "adapter": ADAPTER, "concurrent": 1, "stopping": "none"},
        **{"confirm_seeds": 3},
    }
    (root / "plan.yaml").write_text(yaml.safe_dump(plan))
    run = root / "out" / "it"
    flags = ("--plan", root / "plan.yaml", "--storage", run.parent, "--name", run.name)
    return run, ran("run", *flags, cwd=root)


@pytest.mark.slow
def test_a_strategy_that_does_nothing_is_not_told_apart_from_finetune(
    confirmed: tuple[Path, str],
) -> None:
    run, said = confirmed
    assert "Nothing is told apart from plain tuning." in said
    plan = read_confirmation(run)
    assert plan is not None
    assert len(plan.units) == 3
    names = {path.stem for path in (run / FOLDER / "trials").glob("*.json")}
    assert len(names) == 3 * 3 * 2
    for unit in (1, 2, 3):  # at ratio .01, no example of these tasks is drawn
        both = [f"unit{unit}-{name}-validation" for name in ("0000", "finetune")]
        one, other = (json.loads((run / FOLDER / "trials" / f"{n}.json").read_text()) for n in both)
        assert one["matrices"] == other["matrices"]
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
