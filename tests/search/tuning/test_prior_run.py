"""A second search with the same plan begins where the first one ended, and trains nothing."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import ray
from searches import trials, write_plan
from toy import Toy

from search.cli import main, parser, plan_from_flags
from search.plan.resolve import resolve_plan
from search.plan.resolved_plan import ResolvedPlan
from search.plan.saved_plan import record_plan
from search.run_search import save_plan
from search.tuning import prior_run as prior_run_module
from search.tuning.define_by_run import unflatten
from search.tuning.prior_run import PriorRun, find_prior_run, recover_proposals, reuse_prior_run
from search.tuning.searcher import StudySearcher
from search.tuning.tuner import build_searcher
from spaces.seals import sealed
from trainables.config import TrialConfig
from trainables.lanes.in_process import InProcessRunner
from trainables.stage_job import DivergedError
from trainables.store.records import DivergedRecord
from trainables.store.stage_store import StageStore
from trainables.trial import PanelTrial
from trainables.trial_record import TrialRecord, trial_path

STOPPED, FAILED = {"0001": 2}, "0003"


@pytest.fixture
def plan(toy: Toy, tmp_path: Path) -> Path:
    return plan_in(tmp_path, toy)


def plan_in(folder: Path, toy: Toy) -> Path:
    own = {"epochs": 1, "batch_size": 8, "precision": "fp32", "checkpointing": False}
    return write_plan(folder / "toy.yaml", toy, samples=4, training=own)


def prior_run_of(resolved: ResolvedPlan) -> PriorRun | None:
    return find_prior_run(record_plan(resolved), resolved.run)


def resolved_as(name: str, plan: Path, *flags: str) -> ResolvedPlan:
    args = parser().parse_args(["--plan", str(plan), *flags])
    return resolve_plan(plan_from_flags(args, None), name, plan.parent / "storage", False)


@pytest.fixture(scope="module")
def storage(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a storage with a search, made without Ray: one trial was stopped, one failed."""
    resolved = resolved_as("first", plan_in(tmp_path_factory.mktemp("prior"), toy))
    resolved.run.mkdir(parents=True)
    save_plan(resolved)
    searcher = build_searcher(resolved)
    runner = InProcessRunner(resolved.worker_spec)
    searcher.stopped_names |= STOPPED.keys()
    for number in range(searcher.trials_left()):
        given = searcher.suggest(f"trial-{number}")
        assert given is not None
        result = walked(resolved, given, runner)
        searcher.on_trial_complete(f"trial-{number}", result, error=given["name"] == FAILED)
    assert searcher.trials_left() == 1  # the failed one, which --resume tries again
    assert not searcher.unended()
    return resolved.run.parent


@pytest.fixture
def first(plan: Path, storage: Path) -> ResolvedPlan:
    """Return the search of a copy of `storage`, which the test may change."""
    resolved = resolved_as("first", plan)
    shutil.copytree(storage, resolved.run.parent, dirs_exist_ok=True)
    return resolved


def walked(
    resolved: ResolvedPlan, given: Mapping[str, Any], runner: InProcessRunner
) -> dict[str, Any]:
    store, config = StageStore(resolved.worker_spec.store), TrialConfig.from_dict(given["trial"])
    walk = PanelTrial(config, resolved.panel, resolved.fingerprints, store, runner)
    while not walk.finished and walk.completed < STOPPED.get(given["name"], 99):
        walk.step()
    state = "finished" if walk.finished else "running"
    walk.record(given["name"], state).write(resolved.run)
    return {**walk.metrics(), "state": state}


def comparable(run: Path) -> dict[str, dict[str, Any]]:
    """Return the parts of each trial that must be the same in both searches."""
    same = ("state", "config", "matrices", "stages_done", "cells")
    return {t["name"]: {name: t.get(name) for name in same} for t in trials(run).values()}


def suggestions(searcher: StudySearcher) -> list[dict[str, Any]]:
    """Return all further suggestions."""
    found = [searcher.suggest(f"left-{n}") for n in range(searcher.trials_left())]
    return [suggestion for suggestion in found if suggestion is not None]


def reused(resolved: ResolvedPlan) -> StudySearcher:
    resolved.run.mkdir(exist_ok=True)
    prior_run = prior_run_of(resolved)
    assert prior_run is not None
    searcher = build_searcher(resolved, prior_run)
    reuse_prior_run(resolved, searcher, prior_run)
    return searcher


def test_ended_trials_end_alike_and_only_failed_ones_are_run_again(
    first: ResolvedPlan, plan: Path
) -> None:
    second = resolved_as("second", plan)
    searcher = reused(second)
    (tried,) = suggestions(searcher)
    theirs, ours = comparable(first.run), comparable(second.run)
    assert tried["name"] == FAILED
    assert tried["trial"] == theirs.pop(FAILED)["config"]
    assert ours == theirs
    assert {t["state"] for t in ours.values()} == {"finished", "stopped"}
    assert not any(stage["trained"] for t in trials(second.run).values() for stage in t["stages"])
    states = [t.state.name for t in searcher.study.get_trials(deepcopy=False)]
    assert states == ["COMPLETE", "PRUNED", "COMPLETE", "RUNNING"]


def test_a_whole_search_needs_no_ray(
    first: ResolvedPlan, plan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = first.run / "trials" / f"{FAILED}.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(sealed(record | {"state": "diverged", "message": "as if"})))
    before = {f: f.stat().st_mtime_ns for f in Path(first.worker_spec.store).rglob("*.json")}
    flags = ["--plan", str(plan), "--storage", str(first.run.parent), "--name", "second"]
    assert main([*flags, "--dry-run"]) == 0
    assert "at most 0 to be trained" in capsys.readouterr().out
    assert not (first.run.parent / "second").exists()
    assert main(flags) == 1  # the toy learned nothing in so few steps
    said = capsys.readouterr().out
    assert '"first" had the same plan' in said
    assert "Stages: 0 trained" in said
    assert not ray.is_initialized()
    assert before == {
        f: f.stat().st_mtime_ns for f in Path(first.worker_spec.store).rglob("*.json")
    }


def test_a_trial_with_a_stage_missing_from_the_store_is_run_again(
    first: ResolvedPlan, plan: Path
) -> None:
    theirs = comparable(first.run)["0000"]
    key = next(r["key"] for r in theirs["cells"] if r["stage"] == 2)
    (file,) = Path(first.worker_spec.store).rglob(f"{key}.json")
    file.unlink()
    second = resolved_as("second", plan)
    suggested = suggestions(reused(second))
    assert "0000" in [s["name"] for s in suggested]
    assert next(s for s in suggested if s["name"] == "0000")["trial"] == theirs["config"]


@pytest.mark.parametrize(
    "flags", [("--seed", "5"), ("--samples", "3"), ("--stopping", "none"), ("--orderings", "given")]
)
def test_a_search_with_another_plan_is_no_prior_run(
    first: ResolvedPlan, plan: Path, flags: tuple[str, ...]
) -> None:
    assert prior_run_of(resolved_as("second", plan, *flags)) is None


def test_flags_about_lanes_time_and_features_make_no_difference(
    first: ResolvedPlan, plan: Path
) -> None:
    flags = ("--concurrent", "1", "--time-budget", "60", "--features", "memory")
    assert prior_run_of(resolved_as("second", plan, *flags)) is not None


@pytest.mark.parametrize("broken", ["", "{}", "[3]", '{"schema": 1, "plan": 3}', '{"schema": 99}'])
def test_a_folder_without_a_readable_plan_is_no_prior_run(
    first: ResolvedPlan, plan: Path, broken: str
) -> None:
    (first.run / "plan.json").write_text(broken)
    assert prior_run_of(resolved_as("second", plan)) is None


@pytest.mark.parametrize("broken", ["", "{}", "[3]", '{"name": "0000", "state": "finished"}'])
def test_a_trial_whose_record_cannot_be_read_is_run_again(
    first: ResolvedPlan, plan: Path, broken: str
) -> None:
    (first.run / "trials" / "0000.json").write_text(broken)
    assert "0000" in [s["name"] for s in suggestions(reused(resolved_as("second", plan)))]


@pytest.mark.parametrize("broken", ["", "nonsense\n", '{"op_code": 77}\n'])
def test_a_search_with_a_broken_journal_is_skipped_with_a_warning(
    first: ResolvedPlan, plan: Path, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    (first.run / "optuna.journal").write_text(broken)
    assert prior_run_of(resolved_as("second", plan)) is None
    (warning,) = caplog.messages
    assert f"{first.run} has the same plan, but is skipped" in warning


def test_without_a_journal_the_records_before_the_first_gap_hold_the_proposals(
    first: ResolvedPlan,
) -> None:
    (first.run / "optuna.journal").write_text("nonsense\n")
    (first.run / "trials" / "0002.json").unlink()
    recovered = recover_proposals(first)
    assert recovered is not None
    configs = [first.space.config(unflatten(params)) for params in recovered.proposals]
    told = [trials(first.run)[name]["config"] for name in ("0000", "0001")]
    assert [json.loads(json.dumps(config.to_dict())) for config in configs] == told


def test_a_bug_in_reading_a_prior_run_is_not_hidden(
    first: ResolvedPlan, plan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(run: Path) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(prior_run_module, "ended_proposals", fails)
    with pytest.raises(ZeroDivisionError):
        prior_run_of(resolved_as("second", plan))


def test_a_stage_that_diverged_diverges_again(first: ResolvedPlan, plan: Path) -> None:
    config = TrialConfig.from_dict(comparable(first.run)["0000"]["config"])
    walk = first.new_trial(config)
    walk.step()
    key = walk.key(walk.paths[1])
    (file,) = Path(first.worker_spec.store).rglob(f"{key}.json")
    file.write_text(json.dumps(DivergedRecord(message="it diverged").to_values(file.stem)))
    assert walk.next_is_stored
    with pytest.raises(DivergedError, match="it diverged"):
        walk.step()
    second = resolved_as("second", plan)
    assert "0000" not in [s["name"] for s in suggestions(reused(second))]
    assert comparable(second.run)["0000"]["state"] == "diverged"


def test_a_stage_that_diverged_is_not_at_hand_before_what_comes_before_it(
    first: ResolvedPlan, plan: Path
) -> None:
    walk = first.new_trial(TrialConfig.from_dict(comparable(first.run)["0000"]["config"]))
    base = next(r["key"] for r in comparable(first.run)["0000"]["cells"] if r["stage"] == 0)
    diverged = walk.key(walk.paths[0])
    store = Path(first.worker_spec.store)
    (file,) = store.rglob(f"{diverged}.json")
    file.write_text(json.dumps(DivergedRecord(message="it diverged").to_values(file.stem)))
    (file,) = store.rglob(f"{base}.json")
    file.unlink()
    assert not walk.next_is_stored


def test_evicted_weights_are_not_trained_again(first: ResolvedPlan, plan: Path) -> None:
    store, alike = StageStore(first.worker_spec.store), defaultdict(set)
    for stage in (s for t in trials(first.run).values() for s in t["stages"]):
        record = store.get(stage["key"])
        assert record is not None
        alike[record.blob.sha256].add(stage["key"])
    for sha256, keys in alike.items():
        store.evict(sha256, sorted(keys))
    second = resolved_as("second", plan)
    assert [s["name"] for s in suggestions(reused(second))] == [FAILED]
    assert comparable(second.run)["0001"]["state"] == "stopped"


def test_a_resumed_search_keeps_the_credit_for_what_it_trained(
    first: ResolvedPlan, plan: Path
) -> None:
    second = resolved_as("second", plan)
    finished = TrialRecord.read(trial_path(first.run, "finetune"))
    begun = finished.model_copy(update={"state": "running"})
    begun.write(second.run)
    assert any(stage.trained for stage in begun.stages)
    reused(second)
    ended = TrialRecord.read(trial_path(second.run, "finetune"))
    assert ended.state == "finished"
    credit = [[stage.trained for stage in trial.stages] for trial in (begun, ended)]
    assert credit[0] == credit[1]


def test_only_the_prior_proposals_are_drawn_at_once(first: ResolvedPlan, plan: Path) -> None:
    second = resolved_as("second", plan)
    prior_run = prior_run_of(second)
    assert prior_run is not None
    second.run.mkdir()
    searcher = StudySearcher(
        second.space,
        second.plan.directions(),
        second.run,
        seed=0,
        samples=4,
        references={},
        balanced=True,
        prior_proposals=prior_run.proposals[:2],
    )
    searcher.reuse_trials(lambda name, config: None)
    states = [t.state.name for t in searcher.study.get_trials(deepcopy=False)]
    assert states == ["RUNNING", "RUNNING", "WAITING", "WAITING"]
    drawn = [t.params for t in searcher.study.get_trials(deepcopy=False)[:2]]
    assert drawn == list(prior_run.proposals[:2])


def test_points_enqueued_by_an_earlier_session_are_not_drawn_at_once(
    first: ResolvedPlan, plan: Path
) -> None:
    second = resolved_as("second", plan)
    prior_run = prior_run_of(second)
    assert prior_run is not None
    second.run.mkdir()
    same = (second.space, second.plan.directions(), second.run, 0, 4, {}, True)
    StudySearcher(*same)  # killed before it proposed anything
    searcher = StudySearcher(*same, prior_run.proposals)
    searcher.reuse_trials(lambda name, config: None)
    states = [t.state.name for t in searcher.study.get_trials(deepcopy=False)]
    # The two starting points are the same; later trials are drawn when more is known.
    assert states == ["RUNNING", "RUNNING", "WAITING", "WAITING"]


def test_of_equal_numbers_of_proposals_the_search_with_more_ended_trials_is_taken(
    first: ResolvedPlan, plan: Path
) -> None:
    second = resolved_as("second", plan)
    reused(second)
    save_plan(second)
    searcher = StudySearcher(
        second.space, second.plan.directions(), second.run, seed=0, samples=4, references={}
    )
    given = searcher.suggest("last")
    assert given is not None and given["name"] == FAILED
    result = walked(second, given, InProcessRunner(second.worker_spec))
    searcher.on_trial_complete("last", result)
    prior_run = prior_run_of(resolved_as("third", plan))
    assert prior_run is not None and prior_run.name == "second"
