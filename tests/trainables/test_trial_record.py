from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from spaces import InputError
from spaces.seals import sealed
from trainables.metrics.score_matrix import ScoreMatrix
from trainables.panel import Panel
from trainables.trial_record import ScoredCell, StageCost, TrialRecord, named_keys, trial_path

MATRIX = ScoreMatrix.from_rows(("a", "b"), {1: {"a": 0.5}})
RECORD = TrialRecord(
    name="0001",
    state="running",
    config={"strategy": {"name": "ewc", "strength": 1e6}, "training": {"epochs": 2}},
    metrics={"final_average": None, "train_seconds": 2.0},
    matrices=(MATRIX,),
    extra_matrices={"format_compliance": (MATRIX,)},
    cells=(ScoredCell(ordering=1, stage=1, task="a", split="validation", key="k1"),),
    keys=("k0", "k1"),
    before=StageCost(key="k0"),
    stages=(StageCost(tasks=(("a",),), key="k2", trained=True, seconds={"train": 2.0}),),
    ahead=(StageCost(tasks=(("b",),), key="k3", trained=True),),
    panel=Panel((("a", "b"),)),
)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    RECORD.write(tmp_path)
    assert TrialRecord.read(trial_path(tmp_path, "0001")) == RECORD
    assert [file.name for file in (tmp_path / "trials").iterdir()] == ["0001.json"]


def test_cells_never_evaluated_and_undefined_metrics_are_null() -> None:
    undefined = RECORD.model_copy(update={"metrics": {"forgetting": math.nan}})
    values = json.loads(undefined.to_json())
    assert values["matrices"][0]["values"][1] == [0.5, None]
    assert values["metrics"] == {"forgetting": None}


def test_knobs_stand_under_the_name_of_their_part() -> None:
    assert RECORD.strategy == "ewc"
    assert RECORD.knobs() == {"ewc.strength": 1e6, "training.epochs": 2}


def test_stages_trained_ahead_count_as_trained() -> None:
    assert list(RECORD.stages_trained()) == ["k2", "k3"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 0}, "has schema 0"),
        ({"name": "0002"}, "must hold its own trial record, and holds that of 0002"),
        ({"state": "asleep"}, "state: Input should be 'running'"),
        ({"config": {"training": {}}}, "it must name its strategy"),
        ({"matrices": [{"tasks": ["a"], "values": []}]}, "1 tasks need a matrix of 2 rows"),
    ],
)
def test_any_other_file_is_refused_by_name(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    file = tmp_path / "0001.json"
    file.write_text(json.dumps(sealed(RECORD.to_values() | changes)))
    with pytest.raises(InputError) as error:
        TrialRecord.read(file)
    assert str(error.value).startswith(str(file)) and message in str(error.value)


def test_a_missing_record_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        TrialRecord.read(tmp_path / "0001.json")


def test_keys_are_found_in_records_of_every_schema(tmp_path: Path) -> None:
    RECORD.write(tmp_path)
    assert named_keys(trial_path(tmp_path, "0001")) == {"k0", "k1", "k2"}
    older = tmp_path / "0002.json"
    older.write_text(json.dumps({"records": [{"key": "k7"}], "stages": [{"key": "k8"}]}))
    assert named_keys(older) == {"k7", "k8"}
    older.write_text("{")
    assert named_keys(older) is None
