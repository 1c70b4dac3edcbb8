"""Initial tasks with real stages; what is asked for of them is in tests/trainables/test_initial.py."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from toy import Toy, blobs, config, walked

from trainables.lanes.in_process import InProcessRunner
from trainables.metrics.glossary import RETRIEVAL
from trainables.panel import INITIAL_STATES, Panel
from trainables.rank.engine import set_weights
from trainables.store.stage_store import StageStore
from trainables.trial import PanelTrial

ORDERINGS = (("hue", "light"), ("light", "hue"))
FAST = {"importance_batch": 12}


def started(
    toy: Toy, store: Path, initial_state: str, strategy, runner=None, **training
) -> PanelTrial:
    """A walk whose model has learned `half` before."""
    panel = Panel(ORDERINGS[:1], initial=("half",), initial_state=initial_state)
    runner = runner or InProcessRunner(toy.worker_spec(store))
    chosen = config(strategy, **{"epochs": 1} | training)
    return PanelTrial(chosen, panel, toy.fingerprints(), StageStore(store), runner)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("initial")


@pytest.fixture(scope="module", params=INITIAL_STATES)
def plain(request: pytest.FixtureRequest, toy: Toy, store: Path) -> PanelTrial:
    """Finetune after the initial task was trained, and where it is known."""
    return walked(started(toy, store, request.param, "finetune"))


def another(plain: PanelTrial, toy: Toy, store: Path, strategy, **training) -> PanelTrial:
    return walked(
        started(toy, store, plain.panel.initial_state, strategy, plain.runner, **training)
    )


def test_the_first_stage_begins_with_what_they_left(
    plain: PanelTrial, toy: Toy, tmp_path: Path
) -> None:
    start = plain.store.get(plain.key(()))
    assert (start is not None) is (plain.panel.initial_state == "trained")
    assert plain.store.get(plain.stages[0].key).parent == plain.key(())
    if start:
        assert (start.tasks, start.stage, start.steps) == (("half",), 0, 24 // 8)
        assert plain.outcome.before.train_seconds == start.seconds > 0
    without = walked(toy.walk(config(epochs=1), tmp_path))
    assert (blobs(plain) == blobs(without)) is (plain.panel.initial_state == "known")


def test_another_strategy_trains_them_no_second_time(
    plain: PanelTrial, toy: Toy, store: Path
) -> None:
    replay = started(toy, store, plain.panel.initial_state, {"name": "replay", "ratio": 0.3})
    assert replay.job(()).empty
    assert replay.key(()) == plain.key(())
    assert walked(replay).outcome.before.train_seconds == plain.outcome.before.train_seconds


def test_their_examples_are_replayed_from_the_first_stage_on(
    plain: PanelTrial, toy: Toy, store: Path
) -> None:
    found = another(plain, toy, store, {"name": "replay", "ratio": 0.3})
    for number, old in enumerate((("half",), ("half", "hue"))):
        job, worker = found.job(found.paths[number]), found.runner.worker
        plan = worker._stage_batches(job, found.config, found.config.fresh_strategy(), {})
        seen = {task for batch in plan for task, _ in batch}
        assert seen == {*old, *job.tasks}
        drawn = {row for batch in plan for task, row in batch if task == "half"}
        assert drawn <= set(worker.rank_context.data.shuffled("half")[:7])
        record = found.store.get(found.stages[number].key)
        assert record.old == old
        assert record.steps == len(plan) == -(-(24 + 7 * len(old)) // 8)
        assert record.memory["examples"] > 0


def test_their_importance_is_kept_and_holds_the_first_stage(
    plain: PanelTrial, toy: Toy, store: Path
) -> None:
    found = another(plain, toy, store, {"name": "ewc", "strength": 1e6, **FAST})
    (key,) = found.job(found.paths[0]).kept_before
    record, kept = found.store.get(key), found.store.tensors(key)
    assert (record.task, record.of) == ("half", found.key(()))
    total = sum(float(value.sum(dtype=torch.float64)) for value in kept.values())
    assert total == pytest.approx(1.0, rel=1e-4)
    assert len(found.job(found.paths[1]).kept_before) == 2
    assert blobs(found)[0] != blobs(plain)[0]

    def moved(trial: PanelTrial) -> float:
        worker = trial.runner.worker
        start = worker.rank_context.weights(found.key(()), found.job(()))
        end = trial.store.tensors(trial.stages[0].key)
        return sum(float((kept[n] * (end[n] - start[n]).square()).sum()) for n in kept)

    assert moved(found) < 0.5 * moved(plain)
    assert found.metrics()["stored_bytes"] == record.blob.bytes + sum(
        found.store.get(k).blob.bytes for _, k in found.lineage.kept(found.paths[0])
    )


def test_the_first_stage_is_told_how_similar_they_are(
    plain: PanelTrial, toy: Toy, store: Path
) -> None:
    found = another(plain, toy, store, {"name": "tir", **FAST})
    first, second = (stage.similarity for stage in found.stages)
    assert {tuple(values) for values in first.values()} == {("half",)}
    assert {tuple(values) for values in second.values()} == {("half", "hue")}
    assert all(0 < value < 1 for values in second.values() for value in values.values())


def test_they_have_an_expert_before_the_first_stage(
    plain: PanelTrial, toy: Toy, store: Path
) -> None:
    knobs = {"name": "eproj", "key_steps": 200, "key_rate": 0.02}
    found = another(plain, toy, store, {**knobs, "expert": "trained", "learning_rate": 0})
    accuracy, oracle = (found.matrices(name)[0] for name in RETRIEVAL)
    assert accuracy.row(0)["half"] == accuracy.row(2)["half"] == 1.0
    assert accuracy.row(2) == {"hue": 1.0, "light": 1.0, "half": 1.0}
    # Their own expert answers them as it did, whatever was learned since.
    scores = found.matrices()[0]
    assert scores.row(0)["half"] == scores.row(2)["half"] == oracle.row(2)["half"]
    assert scores.row(0)["half"] == plain.matrices()[0].row(0)["half"]
    assert found.metrics()["initial_forgetting"] == 0.0
    experts = found.lineage.experts(found.paths[-1])
    assert [expert.tasks for expert in experts] == [("half",), ("hue",), ("light",)]
    assert experts[0].key == found.key(())
    trained = found.store.get(found.stages[0].key).parameters
    keys = 3 * (32 + 32)
    assert found.metrics()["added_parameters"] == 2 * trained + keys


def test_the_scores_of_known_tasks_are_those_of_the_model_as_it_came(
    plain: PanelTrial, toy: Toy, store: Path
) -> None:
    worker = plain.runner.worker
    worker.rank_context.adapt(plain.config)
    start = worker.rank_context.weights(plain.key(()), plain.job(()))
    assert (start is worker.rank_context.lmm.initial()) is (plain.panel.initial_state == "known")
    set_weights(worker.rank_context.lmm, start)
    encoded = [worker.rank_context.data.encoded("half", "validation", row) for row in range(10)]
    said = worker.rank_context.lmm.answers(encoded, 6)
    (cell,) = [r for r in plain.outcome.cells() if (r.stage, r.task) == (0, "half")]
    record = plain.store.get(cell.key)
    assert [p["prediction"] for p in record.predictions] == said
