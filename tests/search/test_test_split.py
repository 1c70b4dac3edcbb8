"""The test split chooses nothing: no flag, no field of a plan and no file makes a choice read it.

Choices are made in three places: by the search, on its panel; by a confirmation, which compares
finalists; and by `export` and `analyze`, on the records of the search.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from confirmations import confirmation, written
from confirmations import record as run_record
from records import ORDERINGS, record, references, sampled, write_run

from search import cli, commands
from search.cli import parser, plan_from_flags
from search.confirmation.answer import recommended
from search.confirmation.course import course_of, wanted_runs
from search.confirmation.results import SPLITS, TEST, VALIDATION, Confirmation
from search.confirmation.verdict import Verdict, judge
from search.plan.plan_file import with_fields
from search.plan.resolve import resolve_plan
from search.plan.saved_plan import CHOOSING_SPLIT, record_plan
from search.plan.search_plan import FEATURE_CACHES, STOPPING, SearchPlan
from search.results.first_stages import choose_by_first_stages
from search.results.outcome import read_outcome
from spaces import InputError
from spaces.seals import sealed
from tasks import SPLITS as ALL_SPLITS
from trainables.panel import SCORING, Panel

FIELDS = [field.name for field in dataclasses.fields(SearchPlan)]
COMMANDS = (cli.main, commands.analyze, commands.confirm, commands.export, commands.train)


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_has_a_flag_for_a_split(
    command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        command(["--help"])
    flags = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    assert "--help" in flags
    assert not [flag for flag in flags if "split" in flag or any(s in flag for s in ALL_SPLITS)]


VALUES: list[Any] = ["test", ["test"], {"split": "test"}, {"panel.split": "test"}, 1]
"""Values of every type that a field may have; all that can name the test split do."""
CHOICES = {
    "initial": ("known", "none"),
    "scoring": SCORING,
    "stopping": STOPPING,
    "features": FEATURE_CACHES,
}
"""Values of the fields that have a few."""


@pytest.mark.parametrize("name", FIELDS)
def test_no_field_of_a_plan_changes_the_split_that_is_searched(
    name: str, plan: Callable[..., str], tmp_path: Path
) -> None:
    base = plan_from_flags(parser().parse_args(["--plan", plan()]), None)
    assert resolve_plan(base, None, tmp_path / "s", False).panel.split == CHOOSING_SPLIT
    for value in [*VALUES, *CHOICES.get(name, ())]:
        with contextlib.suppress(InputError):  # it is refused, before anything starts
            asked = with_fields(base, {name: value}, "the test")
            found = resolve_plan(asked, None, tmp_path / "s", False)
            assert {found.panel.split, found.whole_panel.split} == {CHOOSING_SPLIT}
            assert record_plan(found).panel.split == CHOOSING_SPLIT


def test_a_plan_has_no_field_for_a_split(refused: Callable[..., str], tmp_path: Path) -> None:
    assert not [name for name in FIELDS if "split" in name]
    (tmp_path / "mine.yaml").write_text("extends: default\nsplit: test\n")
    assert "unknown field in" in refused("--plan", str(tmp_path / "mine.yaml"))


@pytest.mark.parametrize("command", [commands.analyze, commands.export, commands.confirm])
def test_a_saved_plan_of_the_test_split_is_refused(
    command: Callable[..., int], tmp_path: Path, refused: Callable[..., str]
) -> None:
    folder = write_run(tmp_path / "run")
    values = json.loads((folder / "plan.json").read_text())
    values["panel"]["split"] = "test"
    (folder / "plan.json").write_text(json.dumps(sealed(values)))  # even if the seal fits
    error = refused(str(folder), command=command, where=False)
    assert "a search chooses by the validation split, got test" in error


def test_a_best_yaml_of_the_test_split_is_refused(
    tmp_path: Path, refused: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_run(tmp_path / "run")
    assert commands.export([str(folder)]) == 0
    capsys.readouterr()
    values = yaml.safe_load((folder / "best.yaml").read_text())
    values["panel"]["split"] = "test"
    (folder / "best.yaml").write_text(yaml.safe_dump(sealed(values)))
    error = refused(str(folder / "best.yaml"), command=commands.train, where=False)
    assert 'unknown split "test"' in error


def test_a_record_of_the_test_split_is_in_no_table_and_chosen_by_nobody(tmp_path: Path) -> None:
    better = record("0009", "ewc", panel=Panel(ORDERINGS, split="test"), knobs={"strength": 1.0})
    better = better.model_copy(update={"metrics": {**better.metrics, "final_average": 0.99}})
    folder = write_run(tmp_path / "run", [*references(), *sampled(), better])
    outcome = read_outcome(folder)
    assert "0009" not in outcome.trials and outcome.best_trial == "0002"
    assert "scored on the test split" in outcome.run.skipped["0009.json"]
    assert choose_by_first_stages(outcome, 2) == "0002"


GOOD, LESS, FLOOR, CEILING = (
    [0.45, 0.47, 0.44],
    [0.31, 0.3, 0.33],
    [0.2, 0.22, 0.19],
    [0.5, 0.6, 0.5],
)
TEST_SCORES: dict[str, float | None] = {"high": 0.99, "low": 0.0, "diverged": None}


def with_test_scores(made: Confirmation, name: str, score: float | None) -> Confirmation:
    """Return a confirmation in which a finalist has another score on the test split of each unit."""
    records = {
        cell: run_record(cell, score) if cell.endswith(f"-{name}-{TEST}") else one
        for cell, one in made.records.items()
    }
    return dataclasses.replace(made, records=records)


def without_reported(verdict: Verdict) -> Verdict:
    """Return a verdict without what it only reports: means on the test split, and the share of the gap."""
    return dataclasses.replace(verdict, tested={}, closed=None)


@pytest.mark.parametrize("name", ["0000", "0001", "finetune", "joint"])
@pytest.mark.parametrize("score", TEST_SCORES)
def test_a_confirmation_compares_by_the_validation_split_alone(
    name: str, score: str, tmp_path: Path
) -> None:
    made = confirmation({"0000": GOOD, "0001": LESS, "finetune": FLOOR, "joint": CEILING})
    changed = with_test_scores(made, name, TEST_SCORES[score])
    assert changed.records != made.records
    before, after = judge(made), judge(changed)
    assert without_reported(after) == without_reported(before)
    assert after.tested != before.tested
    assert course_of(changed) == course_of(made)
    assert changed.out() == made.out()
    made.plan.write(tmp_path)
    written(changed, tmp_path)
    assert recommended(tmp_path) == before.recommended == "0000"


def test_runs_on_the_test_split_follow_those_that_choose() -> None:
    made = confirmation({"0000": GOOD, "0001": LESS, "finetune": FLOOR, "joint": CEILING})
    kept = {cell: one for cell, one in made.records.items() if cell.endswith(f"-{VALIDATION}")}
    left = dataclasses.replace(made, records=kept)
    assert without_reported(judge(left)) == without_reported(judge(made))
    assert {split for *_, split in wanted_runs(left)} == {TEST}
    assert SPLITS == (VALIDATION, TEST) and CHOOSING_SPLIT == VALIDATION
