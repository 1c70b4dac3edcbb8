"""Records of every kind, edited or in another's place: never believed, set aside and put again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trainables.store.records import (
    KEY,
    KIND,
    KINDS,
    ByProductRecord,
    DivergedRecord,
    EmbeddingRecord,
    KeptRecord,
    ScoreRecord,
    StageRecord,
    TrainedRecord,
)
from trainables.store.stage_store import StageStore

LOSSES: dict[str, Any] = {"steps": 9, "first_loss": 2.5, "last_loss": 0.5, "parameters": 64}
RECORDS: dict[str, StageRecord] = {
    "trained": TrainedRecord(tasks=("a", "b"), stage=2, parent="ab00", seconds=1.5, **LOSSES),
    "diverged": DivergedRecord(message="stage 1 on a diverged", memory={"a": 3}),
    "by-product": ByProductRecord(strategy="der", of="ab00"),
    "kept": KeptRecord(strategy="ewc", of="ab00", task="a", parameters=3),
    "task embedding": EmbeddingRecord(task="a"),
    "scored": ScoreRecord(task="a", split="test", metric="exact_match", score=0.5),
}


def other(value: Any) -> Any:
    """Return another value of the same type."""
    if isinstance(value, dict):
        return {**value, "more": 1}
    return [*value, "more"] if isinstance(value, list) else value + type(value)("1")


def record_file(store: StageStore, key: str) -> Path:
    return store.root / "records" / key[:2] / f"{key}.json"


def edited(kind: str) -> dict[str, dict[str, Any]]:
    """Return a record's values with each one of them changed, removed or exchanged, by what was done."""
    values = RECORDS[kind].to_values("ab12")
    changed = {f"{name} changed": values | {name: other(values[name])} for name in values}
    for name in values:
        changed[f"{name} gone"] = {n: value for n, value in values.items() if n != name}
    for name in KINDS:
        if name != kind:
            changed[f"called {name}"] = values | {KIND: name}
            changed[f"{name} of another"] = RECORDS[name].to_values("cd34")
    return changed | {"key of another": values | {KEY: "cd34"}, "more": values | {"x": 1}}


def test_there_is_a_record_of_every_kind() -> None:
    assert RECORDS.keys() == KINDS.keys()


@pytest.mark.parametrize("kind", RECORDS)
def test_an_edited_record_is_never_believed_and_is_put_again(kind: str, tmp_path: Path) -> None:
    store = StageStore(tmp_path / "stages")
    path = record_file(store, "ab12")
    for number, (what, values) in enumerate(edited(kind).items()):
        store.put("ab12", RECORDS[kind])
        assert store.get("ab12") == RECORDS[kind]
        path.write_text(json.dumps(values) + " " * number)  # of a size that no cache knows
        assert store.header("ab12") is None and store.get("ab12") is None, what
        aside = [*path.parent.glob("*.damaged-*")]
        assert aside or what.startswith("schema"), what  # of another version: it is left alone
        for one in (*aside, path):
            one.unlink(missing_ok=True)
