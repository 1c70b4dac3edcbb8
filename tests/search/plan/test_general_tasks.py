"""General tasks of a plan: found, checked against what is learned, and kept with the search."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from toy import TRAINING, Toy

from search import cli
from search.plan.plan_file import named_plan, with_fields
from search.plan.plan_warnings import plan_warnings
from search.plan.resolve import resolve_plan
from search.plan.resolved_plan import ResolvedPlan
from search.plan.saved_plan import SavedPlan, record_plan
from search.plan.search_plan import SearchPlan
from search.resources.stage_counts import reference_keys
from spaces import InputError
from trainables.unit import Unit

Resolve = Callable[..., ResolvedPlan]


@pytest.fixture
def resolved(toy: Toy, tmp_path: Path) -> Resolve:
    """Return a function that resolves plans on the toy; `half` is general in its benchmark's file."""
    values = yaml.safe_load((toy.benchmark / "benchmark.yaml").read_text())
    for task, entry in values["tasks"].items():
        entry["path"] = str(toy.benchmark / task)
    values |= {"order": ["hue", "light"], "general": ["half"]}
    file = tmp_path / "tasks.yaml"
    file.write_text(yaml.safe_dump(values))

    def make(**fields) -> ResolvedPlan:
        plan = SearchPlan(
            "p", **{"benchmark": str(file), "model": str(toy.model), "training": TRAINING, **fields}
        )
        return resolve_plan(plan, "s", tmp_path / "results", resume=False)

    return make


def test_the_benchmark_names_them_unless_the_plan_does(resolved: Resolve, toy: Toy) -> None:
    assert resolved().panel.general == ("half",)
    assert resolved(general=("none",)).panel.general == ()
    assert resolved(tasks=("hue", "half"), general=("light",)).panel.tasks == ("half", "hue")
    plain = {"benchmark": str(toy.benchmark), "tasks": ("hue", "half")}
    assert resolved(**plain).panel.general == ()
    assert resolved(**plain, general=("light",)).panel.all_tasks == ("half", "hue", "light")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"general": ("haf",)}, 'unknown task "haf".*did you mean "half"'),
        ({"general": ("half", "half")}, "general tasks must differ, got half, half"),
        (
            {"general": ("light",)},
            "got light among the tasks; --tasks hue would do, and --general none",
        ),
        (
            {"general": ("hue", "light")},
            "got hue, light among the tasks, and --general none leaves",
        ),
        ({"tasks": ("hue", "half")}, "got half among the tasks; --tasks hue would do"),
    ],
)
def test_those_that_are_learned_or_unknown_are_refused(
    fields: dict, message: str, resolved: Resolve
) -> None:
    with pytest.raises(InputError, match=message):
        resolved(**fields)


def test_initial_tasks_are_learned_too() -> None:
    plan = with_fields(named_plan("smoke"), {"general": ["emoji_kind"]}, "test")
    assert plan.initial == "none"
    trained = with_fields(plan, {"initial": "trained"}, "test")
    with pytest.raises(InputError, match="got emoji_kind among the initial tasks; --initial none"):
        resolve_plan(trained, "s", Path("nowhere"), resume=False)


def test_no_stage_of_the_search_gets_another_key_by_them(resolved: Resolve) -> None:
    given, plain = resolved(), resolved(general=("none",))
    for name in ("finetune", "joint"):
        assert reference_keys(given, name) == reference_keys(plain, name)
    assert set(given.fingerprints.tasks) - set(plain.fingerprints.tasks) == {"half"}


@pytest.mark.parametrize("metric", ["general_average", "general_drift", "general_kl"])
def test_their_metrics_are_objectives_where_there_are_some(metric: str, resolved: Resolve) -> None:
    better = "max" if metric == "general_average" else "min"
    found = resolved(objectives=("final_average", metric))
    assert found.plan.directions()[1] == (metric, better)
    with pytest.raises(InputError, match=f"{metric} need general tasks.*--general"):
        resolved(objectives=(metric,), general=("none",))


def test_they_are_scored_again_by_a_confirmation_and_kept_in_the_plan(resolved: Resolve) -> None:
    found = resolved()
    unit = Unit(("light", "hue"), 5).panel(found.panel, "test")
    assert (unit.general, unit.split, unit.orderings) == (("half",), "test", (("light", "hue"),))
    saved = record_plan(found)
    read = SavedPlan.from_json(saved.to_json(), "plan.json")
    assert (read.panel.general, read.metrics["half"]) == (("half",), "exact_match")


def test_they_do_not_count_among_the_examples_of_a_memory(resolved: Resolve, toy: Toy) -> None:
    """The warning of a memory that is too small names what it draws from."""
    small = {"strategies": ("replay",), "space": {"replay.ratio": 0.001}}
    plain = resolved(**small, general=("none",))
    assert plan_warnings(resolved(**small)) == plan_warnings(plain)


def test_another_benchmark_leaves_them_behind() -> None:
    plan = with_fields(named_plan("smoke"), {"general": ["word"]}, "test")
    assert with_fields(plan, {"seed": 1}, "test").general == ("word",)
    assert with_fields(plan, {"benchmark": "other"}, "test").general == ()


def test_flags_name_them_and_a_dry_run_shows_them(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    flags = ["--plan", "smoke", "--general", "word,textile", "--storage", str(tmp_path)]
    assert cli.main([*flags, "--dry-run"]) == 0
    assert "general     word, textile, scored and never trained" in capsys.readouterr().out
    with pytest.raises(InputError, match="--general must be names separated by commas"):
        cli.plan_from_flags(cli.parser().parse_args(["--general", ""]), None)


def test_a_general_task_that_is_learned_ends_a_command_before_it_starts(
    refused: Callable[..., str],
) -> None:
    said = refused("--plan", "smoke", "--general", "digit")
    assert said == (
        "general tasks are never trained, got digit among the tasks; --tasks animal would do, and "
        "--general none leaves them out"
    )
