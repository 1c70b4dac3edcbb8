from __future__ import annotations

import json
from pathlib import Path

import pytest
from stored import scored
from toy import Toy, config, walked

from spaces import InputError
from spaces.seals import seal_of, sealed
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
    assert all(records[key].to_values(key) == own for key, own in values.items())
    scores = [record for record in records.values() if isinstance(record, ScoreRecord)]
    assert all(record.predictions and record.cpu_seconds for record in scores)


def test_fields_that_were_not_given_are_not_written(tmp_path: Path) -> None:
    store = StageStore(tmp_path)
    store.put("ab12", KeptRecord(strategy="ewc", of="cd34", task="a"))
    (file,) = (tmp_path / "records").rglob("*.json")
    values = json.loads(file.read_text())
    assert values.pop("seal") == seal_of(values)
    assert values == {
        **{"schema": 2, "kind": "kept", "key": "ab12"},
        **{"strategy": "ewc", "of": "cd34", "task": "a"},
    }


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"schema": 2, KIND: "other"}, "must be of a known kind (trained, diverged, by-product, "),
        ({"schema": 1, KIND: "kept"}, "has schema 1: this citune reads schema 2 of a stage record"),
        ({KIND: "kept", "of": "x"}, "names no schema"),
        ({"schema": 2, KIND: "kept", "of": "x"}, "was changed since it was written"),
        (sealed({"schema": 2, KIND: "kept", "of": "x"}), "strategy: Field required"),
        (sealed({"schema": 2, KIND: "scored", "score": None}), "task: Field required"),
        (scored(0.5).to_values("cd34"), 'must hold the record of its own key, got "cd34"'),
    ],
)
def test_any_other_record_is_an_input_error(values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as error:
        parse_record(values, "ab12", "ab12")
    assert message in str(error.value) and str(error.value).startswith("ab12")
