"""The size limit of the store, and the estimate of a search's cost."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import torch
from searches import stages, trials, write_plan
from stored import trained
from toy import Toy, walked

from search.cli import main, parser, plan_from_flags
from search.commands import clean
from search.plan.resolve import resolve_plan
from search.plan.resolved_plan import ResolvedPlan
from search.resources.cost_estimate import MeasuredStages
from search.resources.stage_counts import count_stages
from search.resources.store_limit import StoreLimit
from trainables.lanes.in_process import InProcessRunner
from trainables.stage_job import WorkerSpec
from trainables.store import eviction as sweeping
from trainables.store.eviction import pinned
from trainables.store.stage_store import StageStore
from trainables.trial import PanelTrial


def prepared_of(plan: Path, storage: Path, *flags: str) -> ResolvedPlan:
    args = parser().parse_args(["--plan", str(plan), *flags])
    return resolve_plan(plan_from_flags(args, None), "it", storage, False)


def to_train(resolved: ResolvedPlan) -> int:
    return count_stages(resolved, None).to_train


@pytest.fixture
def plan(toy: Toy, tmp_path: Path) -> Path:
    own = {"training": {"epochs": 1, "batch_size": 8, "precision": "fp32", "checkpointing": False}}
    return write_plan(tmp_path / "toy.yaml", toy, samples=2, **own)


def test_hours_are_unknown_until_a_stage_was_trained_and_known_then(
    plan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--plan", str(plan), "--storage", str(tmp_path / "out"), "--dry-run"]
    assert main(flags) == 0
    assert "estimate    unknown" in capsys.readouterr().out
    assert main([*flags, "--measure"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"measured    a worker took \d\.\d\d GB at its peak", said)
    assert re.search(r"estimate    about .* on \d lanes, of which scoring \d+%", said)
    assert len(list((tmp_path / "out" / "stages" / "records").rglob("*.json"))) >= 3
    assert main(flags) == 0  # the measured stage belongs to the search, and stays
    assert "measured on 1 stages" in capsys.readouterr().out


def test_an_estimate_counts_the_stages_that_are_not_trained_yet(plan: Path, tmp_path: Path) -> None:
    resolved = prepared_of(plan, tmp_path)
    assert MeasuredStages(resolved).estimate(to_train(resolved)) is None
    model, benchmark = resolved.plan.model, resolved.plan.benchmark
    worker_spec = WorkerSpec(model, benchmark, resolved.worker_spec.store)
    floor = resolved.new_trial(resolved.space.reference("finetune"))
    walk = PanelTrial(
        floor.config, floor.panel, floor.fingerprints, floor.store, InProcessRunner(worker_spec)
    )
    walk.step()
    one = MeasuredStages(resolved)
    before = one.estimate(to_train(resolved))
    assert one.cost is not None
    assert one.cost.stages == 1
    record = walk.store.get(walk.stages[0].key)
    assert one.cost.train_seconds == pytest.approx(record.seconds / 24)
    stages_left = to_train(resolved) + (len(resolved.panel.tasks) - 1)  # joint is of three tasks
    training = stages_left * 24 * one.cost.train_seconds
    assert before is not None
    assert before.seconds * (1 - before.scoring_share) == pytest.approx(training)
    walked(walk)
    after = MeasuredStages(resolved).estimate(to_train(resolved))
    assert after is not None
    assert to_train(resolved) == stages_left - 2 - 4


def test_several_workers_are_not_measured_by_one(
    plan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--plan", str(plan), "--storage", str(tmp_path / "out"), "--dry-run", "--measure"]
    assert main([*flags, "--workers-per-trial", "2"]) == 2
    assert "one worker, got 2" in capsys.readouterr().err


# The store's limit -------------------------------------------------------------------------------


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """A storage with a megabyte that no search needs."""
    store = StageStore(tmp_path / "stages")
    store.put("ab", trained(), {"w": torch.zeros(250_000)})
    for file in store.root.rglob("*"):
        old = file.stat().st_mtime - 2 * sweeping.GRACE_SECONDS
        os.utime(file, (old, old))
    return tmp_path


def test_a_command_cleans_a_storage(storage: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert clean([str(storage), "--dry-run"]) == 0
    assert "0.001 GB that no search needs would be removed" in capsys.readouterr().out
    assert StageStore(storage / "stages").has("ab")
    assert clean([str(storage)]) == 0
    assert "0.001 GB that no search needs removed" in capsys.readouterr().out
    assert not StageStore(storage / "stages").has("ab")


@pytest.mark.parametrize(
    ("flags", "said"),
    [(["nowhere"], "a storage holds"), ([".", "--store-limit", "0"], "more than 0 GB")],
)
def test_a_wrong_storage_or_limit_is_refused(
    flags: list[str],
    said: str,
    storage: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(storage)
    assert clean(flags) == 2
    assert said in capsys.readouterr().err


def test_a_search_evicts_when_its_store_has_grown(
    storage: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    roomy, tight = StoreLimit(storage, 1.0), StoreLimit(storage, 1e-6)
    roomy.on_step_end(0, [])
    assert StageStore(storage / "stages").has("ab")
    tight.on_step_end(0, [])
    assert not StageStore(storage / "stages").has("ab")
    StageStore(storage / "stages").put("cd", trained(), {"w": torch.zeros(250_000)})  # young
    tight.on_step_end(1, [])
    assert StageStore(storage / "stages").has("cd")  # the last check was just now
    tight._next = 0.0
    with pinned(StageStore(storage / "stages"), ["cd"]):
        tight.on_step_end(2, [])
    assert StageStore(storage / "stages").has("cd")
    assert "--store-limit 1e-06 cannot be kept" in capsys.readouterr().out


@pytest.mark.long
def test_a_search_within_a_limit_ends_as_one_without(toy: Toy, tmp_path: Path) -> None:
    from searches import ran

    plan = write_plan(tmp_path / "toy.yaml", toy, samples=3, concurrent=2, stopping="none")
    found = {}
    for name, flags in {"free": (), "tight": ("--store-limit", "1e-6")}.items():
        out = tmp_path / name
        ran("run", "--plan", plan, "--storage", out, "--name", "it", *flags, cwd=tmp_path)
        found[name] = {n: t["matrices"] for n, t in trials(out / "it").items()}
    assert found["free"] == found["tight"]
    assert stages(tmp_path / "tight" / "it").keys() == stages(tmp_path / "free" / "it").keys()
