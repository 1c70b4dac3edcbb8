"""The rows of a search, and the tables written from them."""

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
    matrix,
    record,
    references,
    sampled,
    write_run,
)

from search.results.run_folder import read_run_folder
from search.results.tables import (
    TIME_COLUMNS,
    Tables,
    build_tables,
    knob_columns,
    write_tables,
)
from search.results.trial_rows import _prefix_savings
from trainables.trial_record import StageCost, TrialRecord


def built(tmp_path: Path, *args: Any, **changes: Any) -> Tables:
    return build_tables(read_run_folder(write_run(tmp_path / "run", *args, **changes)))


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


def test_cells_hold_the_matrices_with_null_for_scores_never_taken(tmp_path: Path) -> None:
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
