"""A search by its commands: tables, report, the best configuration and its final training."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from readme import assert_says_the_same
from searches import killed, ran, stages, trials, write_plan
from toy import Toy, walked

from models.batching import encode
from models.lmm import LMM
from search.results.tables import TIME_COLUMNS
from tasks import load_benchmark
from trainables.config import TrialConfig
from trainables.panel import Panel
from trainables.rank.engine import set_weights
from trainables.rank.features import record_batches
from trainables.store.stage_store import StageStore
from trainables.trial import PanelTrial

ORDERINGS = (("hue", "light", "half"), ("hue", "half", "light"))


@pytest.fixture(scope="module")
def run(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a search of three samples on two lanes."""
    root = tmp_path_factory.mktemp("search")
    own = {"stopping": "none", "features": "disk"}
    plan = write_plan(root / "toy.yaml", toy, samples=3, concurrent=2, **own)
    ran("run", "--plan", plan, "--storage", root / "out", "--name", "first", cwd=root)
    return root / "out" / "first"


def table(run: Path, name: str) -> pa.Table:
    with pa.memory_map(str(run / "tables" / f"{name}.arrow")) as source:
        return pa.ipc.open_file(source).read_all()


def test_every_trial_finishes_and_is_in_tables_and_report(run: Path) -> None:
    rows = table(run, "trials").to_pylist()
    assert [row["name"] for row in rows] == ["0000", "0001", "0002", "finetune", "joint"]
    assert {row["state"] for row in rows} == {"finished"}
    assert {row["strategy"] for row in rows[:2]} == {"replay", "ewc"}
    assert all(row["final_average"] > 0 for row in rows)
    assert len(table(run, "cells")) == 5 * 2 * 4 * 3
    for name in ("trials", "cells", "strategies"):
        assert (run / "tables" / f"{name}.csv").stat().st_size > 100
    assert "first" in (run / "report.html").read_text()
    assert "best" in (run.parents[1] / "run.log").read_text()


def test_every_stage_was_trained_once_though_several_trials_need_it(run: Path) -> None:
    records = [stage for trial in trials(run).values() for stage in trial["stages"]]
    trained = [stage["key"] for stage in records if stage["trained"]]
    assert len(records) == 4 * 5 + 1
    assert len(trained) == len(set(trained))
    assert set(trained) == {stage["key"] for stage in records} == set(stages(run))
    assert len(trained) == 4 * 4 + 1 + 1  # the first stage is one for all but joint


def test_the_features_of_every_image_were_computed_once_before_the_lanes_started(run: Path) -> None:
    said = (run.parents[1] / "run.log").read_text()
    assert "computing vision features of 102 examples" in said
    (folder,) = (run.parent / "features").iterdir()
    assert len(list((folder / "examples").iterdir())) == 3 * 2
    names = [
        name
        for file in (folder / "images").iterdir()
        for b in record_batches(file)
        for name in b["image"]
    ]
    assert len(names) == len(set(names)) == 3 * (24 + 10)


def test_every_lane_was_used(run: Path) -> None:
    assert len(list((run / "lanes").iterdir())) == 2
    (state,) = (run / "tune").glob("experiment_state-*.json")
    data = [json.loads(text) for _, text in json.loads(state.read_text())["trial_data"]]
    assert len(data) == 5
    assert len({trial["last_result"]["pid"] for trial in data}) == 2


def test_the_in_process_runner_equals_a_lane_to_the_last_bit(
    run: Path, toy: Toy, tmp_path: Path
) -> None:
    by_lanes = StageStore(run.parent / "stages")
    for name in ("0001", "joint"):
        record = trials(run)[name]
        config = TrialConfig.from_dict(record["config"])
        walk = walked(toy.walk(config, tmp_path / name, *ORDERINGS))
        assert [stage.key for stage in walk.stages] == [s["key"] for s in record["stages"]]
        for stage in walk.stages:
            ours, theirs = walk.store.get(stage.key), by_lanes.get(stage.key)
            assert ours.blob == theirs.blob
            assert ours.last_loss == theirs.last_loss
        assert [m.to_dict() for m in walk.matrices()] == record["matrices"]


def test_the_final_training_reproduces_the_search_and_loads_anywhere(
    run: Path, toy: Toy, tmp_path: Path
) -> None:
    ran("export", run, cwd=tmp_path)
    best = yaml.safe_load((run / "best.yaml").read_text())
    said = ran("train", run / "best.yaml", "--out", tmp_path / "final", cwd=tmp_path)
    assert "reproduced  exactly: 2 matrices equal those of the search" in said
    scores = json.loads((tmp_path / "final" / "scores.json").read_text())
    assert scores["reproduced"]
    assert scores["validation"] == best["matrices"] == trials(run)[best["trial"]]["matrices"]
    assert len(scores["test"]) == 2

    config = TrialConfig.from_dict(best["config"])
    store = StageStore(tmp_path / "final" / "stages")
    walk = PanelTrial(config, Panel(ORDERINGS), toy.fingerprints(), store, None)
    lmm = LMM(toy.model)
    lmm.adapt(config.adapter, seed=0)
    set_weights(lmm, store.tensors(walk.key(walk.paths[2])))
    rows = load_benchmark(toy.benchmark).task("half").examples("test")[:4]
    examples = [encode(lmm.processor, row) for row in rows]
    assert_says_the_same(tmp_path / "final" / "ordering-1", lmm, examples, tmp_path)


def test_a_finished_search_is_resumed_without_training(run: Path) -> None:
    before, rows = stages(run), table(run, "trials").to_pylist()
    root = run.parents[1]
    ran("run", "--resume", "--storage", root / "out", cwd=root)
    assert stages(run) == before
    assert table(run, "trials").to_pylist() == rows


@pytest.mark.slow
def test_a_search_killed_and_resumed_ends_like_an_undisturbed_one(toy: Toy, tmp_path: Path) -> None:
    plan = write_plan(tmp_path / "toy.yaml", toy, samples=5, concurrent=1, halving=2)
    flags = ("--plan", plan, "--name", "it", "--storage")
    ran("run", *flags, tmp_path / "whole", cwd=tmp_path)
    whole, cut = (tmp_path / name / "it" for name in ("whole", "cut"))

    def in_the_middle() -> bool:
        try:
            trial = trials(cut).get("0001", {})
        except ValueError:
            return False
        return trial.get("state") == "running" and trial["stages_done"] >= 2

    killed("run", *flags, cut.parent, cwd=tmp_path, when=in_the_middle)
    left, known = stages(cut), trials(cut)
    assert known["0001"]["state"] == "running"
    assert len(left) < len(stages(whole))
    ran("run", "--resume", "--storage", cut.parent, cwd=tmp_path)

    assert {key: stages(cut)[key] for key in left} == left
    assert stages(cut).keys() == stages(whole).keys()
    for name, trial in known.items():
        if trial["state"] != "running":
            assert trials(cut)[name] == trial
    for name in ("trials", "cells", "strategies"):
        ours, theirs = (table(folder, name).to_pylist() for folder in (cut, whole))
        for row in (*ours, *theirs):
            for column in TIME_COLUMNS:
                row.pop(column, None)
        assert ours == theirs
    assert {row["state"] for row in table(cut, "trials").to_pylist()} == {"finished", "stopped"}


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param("median", marks=pytest.mark.long),
        pytest.param("racing", marks=pytest.mark.slow),
    ],
)
def test_a_search_ends_well_with_the_other_stopping_rules(
    rule: str, toy: Toy, tmp_path: Path
) -> None:
    plan = write_plan(tmp_path / "toy.yaml", toy, samples=4, concurrent=2, stopping=rule)
    ran("run", "--plan", plan, "--name", "it", "--storage", tmp_path / "out", cwd=tmp_path)
    rows = table(tmp_path / "out" / "it", "trials").to_pylist()
    assert len(rows) == 6
    assert {row["state"] for row in rows} <= {"finished", "stopped"}
    assert {row["state"] for row in rows if row["name"] in ("finetune", "joint")} == {"finished"}
