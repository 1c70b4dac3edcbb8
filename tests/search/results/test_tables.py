from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from records import (
    ORDERINGS,
    TASKS,
    hardness,
    joint_matrix,
    matrix,
    record,
    references,
    sampled,
    write_run,
)
from rich.console import Console

from search.plan.objectives import objectives_of
from search.report.terminal import show_results
from search.results.outcome import read_outcome
from search.results.pareto import choose_best, excluded, pareto_front
from search.results.run_folder import read_run_folder
from search.results.tables import (
    TIME_COLUMNS,
    Tables,
    build_tables,
    knob_columns,
    write_tables,
)
from search.results.trial_rows import _prefix_savings
from spaces.errors import InputError
from trainables.trial_record import StageCost, TrialRecord

OBJECTIVES = (("final_average", "max"), ("forgetting", "min"))


def rows(*values: tuple[str, float | None, float | None], **columns: Any) -> list[dict[str, Any]]:
    count = len(values)
    strategies = columns.get("strategy", ["replay"] * count)
    states = columns.get("state", ["finished"] * count)
    return [
        {
            "name": name,
            "strategy": strategy,
            "state": state,
            "stages_done": 6,
            "stages_total": 6,
            "final_average": final,
            "forgetting": forgetting,
        }
        for (name, final, forgetting), strategy, state in zip(
            values, strategies, states, strict=True
        )
    ]


def built(tmp_path: Path, *args: Any, **changes: Any) -> Tables:
    return build_tables(read_run_folder(write_run(tmp_path / "run", *args, **changes)))


# The front -----------------------------------------------------------------------------------


def test_the_front_is_what_no_other_trial_beats_in_every_objective() -> None:
    table = rows(("a", 0.5, 0.1), ("b", 0.6, 0.2), ("c", 0.5, 0.2), ("d", 0.4, 0.3))
    assert pareto_front(table, OBJECTIVES) == ["b", "a"]


def test_trials_that_tie_are_all_on_the_front() -> None:
    table = rows(("b", 0.5, 0.1), ("a", 0.5, 0.1), ("c", 0.5, 0.2))
    assert pareto_front(table, OBJECTIVES) == ["a", "b"]
    assert choose_best(table, OBJECTIVES) == "a"


@pytest.mark.parametrize("nothing", [None, float("nan")])
def test_a_trial_with_an_undefined_objective_is_left_out_with_a_reason(nothing: Any) -> None:
    table = rows(("a", 0.9, nothing), ("b", 0.5, 0.1))
    assert pareto_front(table, OBJECTIVES) == ["b"]
    assert excluded(table, OBJECTIVES) == {"a": "forgetting undefined"}


def test_joint_tuning_and_unfinished_trials_are_not_on_the_front() -> None:
    table = rows(
        ("joint", 0.9, 0.0),
        ("s", 0.95, 0.0),
        ("b", 0.5, 0.1),
        strategy=["joint", "replay", "replay"],
        state=["finished", "stopped", "finished"],
    )
    assert pareto_front(table, OBJECTIVES) == ["b"]
    reasons = excluded(table, OBJECTIVES)
    assert reasons["s"] == "stopped after 6 of 6 stages"
    assert "reference" in reasons["joint"]


def test_the_best_is_chosen_by_the_first_objective_or_the_one_named() -> None:
    table = rows(("a", 0.5, 0.1), ("b", 0.6, 0.2))
    assert choose_best(table, OBJECTIVES) == "b"
    assert choose_best(table, OBJECTIVES, by="forgetting") == "a"
    with pytest.raises(InputError, match='did you mean "forgetting"'):
        choose_best(table, OBJECTIVES, by="forgeting")


def test_without_a_finished_trial_there_is_no_best() -> None:
    table = rows(("a", 0.5, 0.1), state=["failed"])
    with pytest.raises(InputError, match="a failed after 6 of 6 stages"):
        choose_best(table, OBJECTIVES)
    with pytest.raises(InputError, match="no trial yet"):
        choose_best([], OBJECTIVES)


@pytest.mark.parametrize("wrong", [None, [], "forgetting", [["forgetting"]], [["a", "up"]]])
def test_objectives_without_a_direction_are_refused(wrong: Any) -> None:
    with pytest.raises(InputError, match="objective"):
        objectives_of(wrong)


# The tables ----------------------------------------------------------------------------------


def test_trials_have_their_knobs_metrics_and_costs_in_columns(tmp_path: Path) -> None:
    trials = built(tmp_path).trials
    names = [row["name"] for row in trials]
    assert names == ["0000", "0001", "0002", "0003", "0004", "finetune", "joint"]
    row = trials[2]
    assert row["replay.ratio"] == 0.2 and row["ewc.strength"] is None
    assert row["training.epochs"] == 4 and row["adapter.parts"] == "connector+lm_lora"
    assert row["stages_trained"] == 4 and row["stages_shared"] == 2
    assert row["seconds_trained"] == 14.0 and row["seconds_shared"] == 7.0
    assert row["seconds_waited"] == 1.5 and row["seconds_scored"] == 2.0
    assert row["seconds_prefixes"] == row["seconds_spared"] == 0.0
    stopped = trials[3]
    assert (stopped["state"], stopped["stages_done"]) == ("stopped", 3)
    assert stopped["seconds_spared"] == 3 * (3.5 + 0.5)
    columns = knob_columns(row, "replay")
    assert "replay.ratio" in columns and "training.epochs" in columns and "ewc.decay" not in columns
    learned = [0.82 - hardness(task) for task in TASKS]
    assert row["intransigence"] == pytest.approx(0.85 - sum(learned) / 3)


@pytest.mark.parametrize("trained", [True, False])
def test_learning_the_initial_tasks_is_spent_by_one_trial_and_saved_by_the_others(
    tmp_path: Path, trained: bool
) -> None:
    before = StageCost(key="k", train_seconds=100.0, trained=trained)
    rows = [
        built(tmp_path / name, [*references(), record("0007", before=cost)]).trials[0]
        for name, cost in {"one": before, "other": None}.items()
    ]
    for column, share in (("seconds_trained", trained), ("seconds_shared", not trained)):
        assert rows[0][column] - rows[1][column] == pytest.approx(100.0 * share)


def test_a_stage_that_several_orderings_begin_with_is_credited_for_each_further_one() -> None:
    orderings = (("a", "b", "c"), ("a", "b", "d"), ("a", "c", "b"))
    paths = dict.fromkeys(o[:i] for o in orderings for i in (1, 2, 3))
    costs = [
        StageCost(tasks=tuple((task,) for task in path), key="k", train_seconds=2.0, trained=True)
        for path in paths
    ]
    matrices = [matrix(ordering, 0.8, 0.9) for ordering in orderings]
    assert len(paths) == 6
    # a in two further orderings, a>b in one.
    assert sum(_prefix_savings(record("0000", "replay", matrices, stages=costs))) == 3 * 2.0


def test_cells_are_the_matrices_and_what_was_never_scored_is_null(tmp_path: Path) -> None:
    cells = built(tmp_path).cells
    mine = [c for c in cells if c["trial"] == "0002" and c["ordering"] == 2]
    assert len(mine) == 4 * 3
    expected = matrix(ORDERINGS[1], 0.82, 0.95)
    for cell in mine:
        score = expected.values[cell["stage"], cell["position"] - 1]
        assert cell["task"] == ORDERINGS[1][cell["position"] - 1]
        assert cell["score"] == score or (cell["score"] is None and score != score)
    assert any(cell["score"] is None for cell in mine)


def test_each_strategy_has_its_best_finished_trial_and_its_spread(tmp_path: Path) -> None:
    strategies = built(tmp_path).strategies
    assert [row["strategy"] for row in strategies] == ["joint", "replay", "ewc", "finetune"]
    replay = strategies[1]
    assert replay["best"] == "0002" and replay["finished"] == 2
    first, second = replay["final_average_by_ordering"]
    assert replay["final_average_std"] == pytest.approx(abs(first - second) / 2**0.5)
    ewc = strategies[2]
    assert (ewc["finished"], ewc["stopped"], ewc["failed"]) == (1, 1, 1)
    assert strategies[0]["reference"] and strategies[0]["forgetting"] is None


def test_one_ordering_has_no_spread(tmp_path: Path) -> None:
    trial = record("0000", matrices=[matrix(ORDERINGS[0], 0.8, 0.9)])
    (row,) = built(tmp_path, [trial]).strategies
    assert row["final_average_std"] is None


def test_equal_searches_give_equal_tables_but_for_time(tmp_path: Path) -> None:
    first = built(tmp_path / "a")
    second = built(tmp_path / "b", [_slower(trial) for trial in [*sampled(), *references()]])
    for one, other in zip(first, second, strict=True):
        assert [_timeless(row) for row in one] == [_timeless(row) for row in other]
    assert first.trials != second.trials
    assert set(TIME_COLUMNS) <= first.trials[0].keys()


def _slower(trial: TrialRecord) -> TrialRecord:
    """Return the trial with other times, and stages that another trial trained."""
    stages = [
        stage.model_copy(update={"train_seconds": 9.0, "waited": 2.0, "trained": not stage.trained})
        for stage in trial.stages
    ]
    seconds = {"train_seconds": 2 * (trial.metrics["train_seconds"] or 0.0)}
    return trial.model_copy(update={"stages": tuple(stages), "metrics": trial.metrics | seconds})


def _timeless(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in TIME_COLUMNS}


def test_tables_are_written_as_arrow_and_flat_csv(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    written = write_tables(folder)
    for name, rows in written._asdict().items():
        with pa.ipc.open_file(folder / "tables" / f"{name}.arrow") as reader:
            assert reader.read_all().to_pylist() == rows
        with open(folder / "tables" / f"{name}.csv", newline="") as file:
            assert len(list(csv.DictReader(file))) == len(rows)
    names = {path.name for path in (folder / "tables").iterdir()}
    assert len(names) == 6, "no temporary file stays behind"


def test_a_knob_with_values_of_several_types_becomes_text(tmp_path: Path) -> None:
    trials = [record("0000", knobs={"ratio": 0.1}), record("0001", knobs={"ratio": "auto"})]
    folder = write_run(tmp_path / "run", trials)
    write_tables(folder)
    with pa.ipc.open_file(folder / "tables" / "trials.arrow") as reader:
        assert reader.read_all().column("replay.ratio").to_pylist() == ["0.1", "auto"]


# Bad folders ---------------------------------------------------------------------------------


def test_a_missing_or_foreign_folder_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must exist"):
        read_run_folder(tmp_path / "nothing")
    with pytest.raises(InputError, match=r"must hold plan\.json"):
        read_run_folder(tmp_path)
    for content, message in (
        ("{", "must hold JSON"),
        ("[]", "must hold a search's plan, got list"),
        ("{}", "names no schema"),
        ('{"schema": 1}', "name: Field required"),
    ):
        (tmp_path / "plan.json").write_text(content)
        with pytest.raises(InputError, match=message):
            read_run_folder(tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"name": "0009", "sta', "Unterminated"),
        ("[1]", "must hold a trial record, got list"),
        ('{"name": "0009"}', "names no schema"),
        ('{"schema": 1, "name": "0009", "config": {}}', "state: Field required"),
        ('{"schema": 1, "name": "0009", "state": "finished", "config": {}}', "strategy"),
        (
            '{"schema": 1, "name": "0009", "state": "odd", "config": {"strategy": {"name": "ewc"}}}',
            "state: Input should be",
        ),
        (
            '{"schema": 1, "name": "1", "state": "failed", "config": {"strategy": {"name": "ewc"}}}',
            "holds",
        ),
    ],
)
def test_a_broken_record_is_skipped_and_named(tmp_path: Path, content: str, reason: str) -> None:
    folder = write_run(tmp_path / "run")
    (folder / "trials" / "0009.json").write_text(content)
    (folder / "trials" / ".0008.123").write_text("{")
    run = read_run_folder(folder)
    assert len(run.trials) == 7
    assert list(run.skipped) == ["0009.json"]
    assert reason in run.skipped["0009.json"]
    assert "0009.json" in screen(folder)


def test_a_trial_that_failed_before_its_first_stage_is_in_the_tables(tmp_path: Path) -> None:
    config = {"strategy": {"name": "replay", "ratio": 0.1}}
    dead = TrialRecord(name="0000", state="failed", config=config, message="out of memory")
    (row,) = built(tmp_path, [dead]).trials
    assert row["state"] == "failed" and row["stages_done"] == 0
    assert "0000 failed after 0 of 0 stages" in screen(tmp_path / "run")


def test_a_search_without_trials_has_empty_tables(tmp_path: Path) -> None:
    written = write_tables(write_run(tmp_path / "run", []))
    assert [len(rows) for rows in written] == [0, 0, 0]
    assert "no trial yet" in screen(tmp_path / "run")


# Words and screen ----------------------------------------------------------------------------


def screen(folder: Path) -> str:
    console = Console(width=100, highlight=False, force_terminal=False)
    with console.capture() as capture:
        show_results(folder, console)
    return capture.get()


def test_the_screen_shows_marks_front_costs_and_what_to_do_next(tmp_path: Path) -> None:
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


def test_names_are_printed_as_they_are(tmp_path: Path) -> None:
    trial = record("0000", "[red]mine[/]", matrices=[matrix(["[bold]a", "b"], 0.8, 0.9)])
    assert "[red]mine[/]" in screen(write_run(tmp_path / "run", [trial]))


def test_the_summary_says_how_much_of_the_gap_is_closed(tmp_path: Path) -> None:
    text = read_outcome(write_run(tmp_path / "run")).summary()
    assert text.startswith("replay (trial 0002) is best")
    assert "better than finetune" in text and "% of the gap to joint tuning (0.850)" in text
    assert "It forgets" in text


def test_the_summary_says_so_when_nothing_beats_finetune(tmp_path: Path) -> None:
    poor = record("0000", matrices=[matrix(o, 0.3, 0.4) for o in ORDERINGS])
    floor = record("finetune", "finetune", [matrix(o, 0.8, 0.5) for o in ORDERINGS])
    text = read_outcome(write_run(tmp_path / "run", [poor, floor])).summary()
    assert "no strategy of this search beats plain finetune" in text


def test_a_ceiling_below_the_floor_is_called_none(tmp_path: Path) -> None:
    floor, _ = references()
    low = record("joint", "joint", [joint_matrix(o, 0.2) for o in ORDERINGS])
    text = read_outcome(write_run(tmp_path / "run", [floor, low, *sampled()])).summary()
    assert "does not exceed finetune, so this search has no ceiling" in text


def test_what_is_no_better_than_the_floor_is_not_praised(tmp_path: Path) -> None:
    idle = record("0000", "replay", [matrix(o, 0.8, 0.5) for o in ORDERINGS])
    text = read_outcome(write_run(tmp_path / "run", [*references(), idle])).summary()
    assert "the same as plain finetune." in text
    assert "closes" not in text


def test_later_tasks_may_help_earlier_ones(tmp_path: Path) -> None:
    helped = record("0000", "replay", [matrix(o, 0.5, 1.1) for o in ORDERINGS])
    text = read_outcome(write_run(tmp_path / "run", [*references(), helped])).summary()
    assert "It forgets nothing, and gains 0." in text


def test_the_screen_says_which_trials_a_search_left_unfinished(tmp_path: Path) -> None:
    assert "Unfinished" not in screen(write_run(tmp_path / "whole"))
    cut = record("0003", knobs={"ratio": 0.1}, state="running")
    text = screen(write_run(tmp_path / "cut", [*references(), *sampled()[:2], cut]))
    assert "Unfinished: 0003; " in text and "--resume goes on with them" in text
