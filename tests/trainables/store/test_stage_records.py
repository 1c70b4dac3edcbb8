from __future__ import annotations

import json
from pathlib import Path

import pytest
from toy import Toy, config, walked

from spaces import InputError
from trainables.store.records import KIND, KINDS, KeptRecord, ScoreRecord, parse_record
from trainables.store.stage_store import StageStore


def test_every_record_of_a_real_trial_is_read_by_its_class(toy: Toy, tmp_path: Path) -> None:
    orderings = (("hue", "light"),)
    for name in ("replay+ewc", "eproj"):
        walked(toy.walk(config(name, epochs=1), tmp_path, *orderings))
    store = StageStore(tmp_path)
    keys = [file.stem for file in (tmp_path / "records").rglob("*.json")]
    files = {file.stem: file for file in (tmp_path / "records").rglob("*.json")}
    values = {key: json.loads(file.read_text()) for key, file in files.items()}
    records = {key: store.get(key) for key in keys}
    assert {record.KIND for record in records.values()} == set(KINDS) - {"diverged", "by-product"}
    assert all(records[key].to_values() == own for key, own in values.items())
    scores = [record for record in records.values() if isinstance(record, ScoreRecord)]
    assert all(record.predictions and record.cpu_seconds for record in scores)


def test_fields_that_were_not_given_are_not_written(tmp_path: Path) -> None:
    store = StageStore(tmp_path)
    store.put("ab12", KeptRecord(strategy="ewc", of="cd34", task="a"))
    (file,) = (tmp_path / "records").rglob("*.json")
    assert json.loads(file.read_text()) == {
        **{"schema": 1, "kind": "kept"},
        **{"strategy": "ewc", "of": "cd34", "task": "a"},
    }


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"schema": 1, KIND: "other"}, "must be of a known kind (trained, diverged, by-product, "),
        ({"schema": 2, KIND: "kept"}, "has schema 2: this citune reads schema 1 of a stage record"),
        ({KIND: "kept", "of": "x"}, "names no schema"),
        ({"schema": 1, KIND: "kept", "of": "x"}, "strategy: Field required"),
    ],
)
def test_any_other_record_is_an_input_error(values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as error:
        parse_record(values, "ab12")
    assert message in str(error.value) and str(error.value).startswith("ab12")
