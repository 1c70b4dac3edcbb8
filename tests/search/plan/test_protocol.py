"""Selection protocols of a plan: the tasks and stages that are searched, and those that are not."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small import row, write_benchmark, write_rows
from toy import Toy

from search.cli import main, parser, plan_from_flags
from search.plan.plan_warnings import plan_warnings
from search.plan.resolve import resolve_plan
from search.plan.resolved_plan import ResolvedPlan
from search.plan.saved_plan import record_plan
from search.prepared_search import prepare_search
from spaces import InputError

NAMES = ("a", "b", "c", "d", "e", "f")
HELD_OUT = ("--held-out-tasks", "d,e,f")


@pytest.fixture
def benchmark(tmp_path: Path) -> Path:
    """Return the folder of a benchmark of six small tasks."""
    return write_benchmark(tmp_path / "benchmark", NAMES)


@pytest.fixture
def resolved(benchmark: Path, toy: Toy, tmp_path: Path) -> Callable[..., ResolvedPlan]:
    """Return a function that resolves a plan of all six tasks, with flags."""

    def resolve(*flags: str, orderings: str = "given") -> ResolvedPlan:
        where = ["--benchmark", str(benchmark), "--model", str(toy.model), "--orderings", orderings]
        plan = plan_from_flags(parser().parse_args([*where, *flags]), None)
        return resolve_plan(plan, None, tmp_path / "storage", False)

    return resolve


def test_tasks_held_out_are_in_no_panel_and_are_all_checked(resolved: Callable) -> None:
    found = resolved(*HELD_OUT)
    assert found.panel.orderings == found.whole_panel.orderings == (("a", "b", "c"),)
    assert found.panel.all_tasks == ("a", "b", "c")
    assert found.tasks == tuple(found.fingerprints.tasks) == NAMES
    saved = record_plan(found)
    assert saved.protocol == "tasks held out: d, e, f"
    assert (saved.confirmed_tasks, saved.used_orderings) == (("d", "e", "f"), ())
    assert tuple(saved.fingerprints.tasks) == tuple(saved.metrics) == NAMES


def test_tasks_held_out_need_not_be_among_the_tasks(resolved: Callable) -> None:
    found = resolved("--tasks", "b,d,a", *HELD_OUT)
    assert found.panel.orderings == (("b", "a"),)
    assert found.tasks == ("a", "b", "d", "e", "f")


def test_a_broken_row_of_a_task_held_out_is_found_before_anything_starts(
    benchmark: Path, resolved: Callable
) -> None:
    write_rows(benchmark / "e" / "test.parquet", [row(0, prompt="")])
    with pytest.raises(InputError, match=r"(?s)task e, test, row 0|e/test"):
        resolved(*HELD_OUT)
    assert resolved("--tasks", "a,b").tasks == ("a", "b")


def test_the_first_stages_are_searched_and_whole_orderings_confirmed(resolved: Callable) -> None:
    found = resolved("--search-stages", "2", orderings="a>b>c>d>e>f;c>a>b>d>e>f")
    assert found.panel.orderings == (("a", "b"), ("c", "a"))
    assert [len(ordering) for ordering in found.whole_panel.orderings] == [6, 6]
    assert found.tasks == NAMES
    saved = record_plan(found)
    assert saved.protocol == "first 2 of 6 tasks"
    assert saved.whole_panel == found.whole_panel
    assert (saved.confirmed_tasks, saved.used_orderings) == (NAMES, found.panel.orderings)


def test_orderings_that_begin_alike_are_searched_once(resolved: Callable) -> None:
    found = resolved("--search-stages", "2", orderings="given+a>b>f>e>d>c+reverse")
    assert found.panel.orderings == (("a", "b"), ("f", "e"))
    assert "3 orderings begin in 2 ways" in " ".join(plan_warnings(found))


def test_a_single_stage_is_said_to_compare_no_strategies(resolved: Callable) -> None:
    one = resolved("--search-stages", "1", "--objectives", "final_average")
    assert one.panel.orderings == (("a",),)
    assert "compares no strategies" in " ".join(plan_warnings(one))
    two = resolved("--search-stages", "2", "--objectives", "final_average")
    assert "compares no strategies" not in " ".join(plan_warnings(two))


def test_both_protocols_can_be_joined(resolved: Callable) -> None:
    found = resolved(*HELD_OUT, "--search-stages", "2")
    assert found.panel.orderings == (("a", "b"),)
    saved = record_plan(found)
    assert saved.protocol == "tasks held out: d, e, f; first 2 of 3 tasks"
    assert saved.confirmed_tasks == ("d", "e", "f")


def test_without_a_protocol_nothing_changes(resolved: Callable) -> None:
    found = resolved()
    saved = record_plan(found)
    assert found.panel == found.whole_panel == saved.whole_panel
    assert found.tasks == found.panel.all_tasks
    assert (saved.protocol, saved.whole_orderings) == ("orderings held out", ())
    assert math.factorial(len(saved.confirmed_tasks)) == 720


REFUSED: dict[str, tuple[list[str], str]] = {
    "two tasks held out": (
        ["--held-out-tasks", "e,f"],
        r"must be 3 at least, got e, f: .* 2 tasks have 2; further ones could be a, b, c, d$",
    ),
    "one task held out": (["--held-out-tasks", "f"], "1 task has 1"),
    "none by name": (["--held-out-tasks", ""], "--held-out-tasks must be names"),
    "an unknown task": (["--held-out-tasks", "d,e,q"], 'unknown task "q"'),
    "a task twice": (["--held-out-tasks", "d,e,d"], "held_out_tasks must differ, got d, e, d"),
    "nothing left": (
        ["--tasks", "d,e", *HELD_OUT],
        "2 tasks at least must be left to search on, and of d, e the plan leaves none",
    ),
    "one task left": (["--tasks", "a,e", *HELD_OUT], "of a, e the plan leaves a; "),
    "a general task": (
        [*HELD_OUT, "--general", "f"],
        "general tasks are never trained, got f in held_out_tasks.*--general none",
    ),
    "no stage": (["--search-stages", "0"], "search_stages must be at least 1, got 0"),
    "all stages": (["--search-stages", "6"], "less than the 6 tasks .* got 6; 1 to 5 would do"),
    "stages of the tasks left": ([*HELD_OUT, "--search-stages", "3"], "less than the 3 tasks"),
    "forgetting of one stage": (
        ["--search-stages", "1"],
        "at least 2 tasks for forgetting, got 1.*--objectives final_average, would do",
    ),
    "transfer to one stage": (
        ["--search-stages", "1", "--objectives", "final_average,backward_transfer"],
        "at least 2 tasks for backward_transfer, got 1",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_protocol_that_cannot_be_is_one_clear_error(
    what: str, benchmark: Path, toy: Toy, refused: Callable[..., str]
) -> None:
    flags, message = REFUSED[what]
    where = ["--benchmark", str(benchmark), "--model", str(toy.model), "--orderings", "given"]
    error = refused(*where, *flags)
    assert re.search(message, error), error


def test_initial_tasks_are_not_held_out(toy: Toy, tmp_path: Path, refused: Callable) -> None:
    folder = write_benchmark(tmp_path / "other", NAMES, order=["a", "b", "c", "d"], initial=["f"])
    where = ["--benchmark", str(folder), "--model", str(toy.model), "--orderings", "given"]
    assert "got f among the tasks" in refused(*where, "--held-out-tasks", "d,e,f")


@pytest.mark.parametrize("field", ["held_out_tasks: d", "search_stages: two", "search_stages: 1.5"])
def test_a_plan_file_with_another_type_is_one_clear_error(
    field: str, tmp_path: Path, refused: Callable
) -> None:
    (tmp_path / "p.yaml").write_text(f"extends: default\n{field}\n")
    assert re.search(
        rf"{field.split(':')[0]} must be a ", refused("--plan", str(tmp_path / "p.yaml"))
    )


def test_a_dry_run_shows_the_protocol(
    plan: Callable[..., str], toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: dict[str, Any] = {"tasks": ["hue", "light", "half"], "search_stages": 2}
    assert main(["--plan", plan(**asked), "--storage", str(tmp_path / "s"), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "protocol    first 2 of 3 tasks: a confirmation trains whole orderings" in said
    assert "orderings   2: hue>light; half>light\n" in said
    assert "half 24/10/10" in said


def test_the_memory_is_that_of_all_tasks(
    plan: Callable[..., str], toy: Toy, tmp_path: Path
) -> None:
    """The confirmation runs in the same lanes: tasks of its own may have the longest examples."""
    flags = ["--plan", plan(tasks=["hue", "light", "half"], orderings="given", search_stages=2)]
    asked = plan_from_flags(parser().parse_args(flags), None)
    found = resolve_plan(asked, None, tmp_path / "s", False)
    assert found.panel.tasks == ("hue", "light")
    assert set(prepare_search(found).needs.probe.counts) == {"hue", "light", "half"}
