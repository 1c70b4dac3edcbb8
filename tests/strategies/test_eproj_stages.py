"""Stages of experts; their choice and keys are tested in tests/strategies/test_eproj.py."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from small import write_rows
from toy import PROMPTS, Toy, config, walked

from strategies import EProj
from trainables.metrics.glossary import RETRIEVAL
from trainables.rank import routing
from trainables.store.stage_store import StageStore
from trainables.trial import PanelTrial

LIVELY = {"name": "eproj", "learning_rate": 0.02, "key_steps": 500, "key_rate": 0.02}
ORDERING = ("light", "hue")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("eproj")


@pytest.fixture(scope="module")
def walk(toy: Toy, store: Path) -> PanelTrial:
    return walked(toy.walk(config(LIVELY), store, ORDERING))


def test_all_but_the_projection_is_frozen_and_every_expert_begins_as_the_models_own(
    walk: PanelTrial,
) -> None:
    records = [walk.store.get(stage.key) for stage in walk.stages]
    assert all(record.parent == walk.lineage.base for record in records)
    assert [record.stage for record in records] == [1, 1]
    for stage in walk.stages:
        weights = walk.store.tensors(stage.key)
        assert weights
        assert all("multi_modal_projector" in name for name in weights)


def test_prompts_that_differ_are_retrieved_without_a_fault(walk: PanelTrial) -> None:
    accuracy, oracle = (walk.matrices(name)[0].values for name in RETRIEVAL)
    scores = walk.matrices()[0].values
    assert accuracy[1, 0] == accuracy[2, 0] == accuracy[2, 1] == 1.0
    for row, column in ((1, 0), (2, 0), (2, 1)):
        assert oracle[row, column] == scores[row, column], (row, column)
    # What was learned is answered as it was, for its expert is apart.
    assert scores[2, 0] == scores[1, 0] > scores[0, 0]


def test_a_task_without_an_expert_has_no_retrieval(walk: PanelTrial) -> None:
    for name in RETRIEVAL:
        (matrix,) = walk.matrices(name)
        assert [math.isnan(value) for value in matrix.values[0]] == [True, True]
        assert math.isnan(matrix.values[1, 1])
        assert not math.isnan(matrix.values[1, 0])


def test_the_keys_of_a_task_are_near_its_queries(walk: PanelTrial) -> None:
    embedder = walk.runner.worker.rank_context.embedder
    for path in walk.paths:
        ((task, found),) = walk.lineage.kept(path)
        keys, asked = walk.store.tensors(found), embedder.queries(task, "train")
        for name in ("image", "instruction"):
            mean = getattr(asked, name).mean(0)
            assert float(torch.cosine_similarity(keys[name], mean, dim=0)) > 0.98


def test_parameters_and_bytes_of_experts_are_counted(walk: PanelTrial) -> None:
    first, second = (walk.store.get(stage.key) for stage in walk.stages)
    kept = [walk.store.get(found) for path in walk.paths for _, found in walk.lineage.kept(path)]
    weights = [walk.store.tensors(stage.key) for stage in walk.stages]
    projection = sum(value.numel() for value in weights[0].values())
    assert first.parameters == second.parameters == projection
    widths = [32 + 32, 32 + 32]  # of the vision tower's and the text encoder's vectors
    assert [record.parameters for record in kept] == widths
    assert walk.metrics()["added_parameters"] == projection + sum(widths)
    # One expert is in the place of the model's own.
    stored = [record.blob.bytes for record in (second, *kept)]
    assert walk.metrics()["stored_bytes"] == sum(stored)


def test_a_wrong_retrieval_is_counted_and_the_oracle_makes_none(
    toy: Toy, tmp_path: Path, walk: PanelTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Route half of the examples to the other expert."""
    exact = EProj.route

    def wrong(self, queries, kept, own):
        found = exact(self, queries, kept, own)
        half = len(found) // 2
        return [(n + 1) % len(kept) for n in found[:half]] + found[half:]

    with monkeypatch.context() as patched:
        patched.setattr(EProj, "route", wrong)
        lost = walked(toy.walk(config(LIVELY), tmp_path, ORDERING))
    accuracy, oracle = (lost.matrices(name)[0].values for name in RETRIEVAL)
    assert accuracy[1, 0] == 1.0
    assert accuracy[2].tolist() == [0.5, 0.5]
    scores, exactly = lost.matrices()[0].values, walk.matrices()[0].values
    assert oracle[2].tolist() == exactly[2].tolist()
    assert scores[2].sum() < exactly[2].sum()


def test_answers_of_an_unchanged_expert_are_reused(
    toy: Toy, tmp_path: Path, walk: PanelTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, int]] = []
    stock = routing.generate_answers

    def counting(lmm, data, task, split, zero, only):
        asked.append((task, len(only)))
        return stock(lmm, data, task, split, zero, only)

    monkeypatch.setattr(routing, "generate_answers", counting)
    again = walked(toy.walk(config(LIVELY), tmp_path, ORDERING))
    # Three cells of ten answers, of which those of `light` after `hue` are known.
    assert asked == [("light", 10), ("hue", 10)]
    assert again.matrices() == walk.matrices()
    last = again.store.get(again.lineage.scored(again.paths[-1], "light"))
    first = again.store.get(again.lineage.scored(again.paths[0], "light"))
    said = [[p["prediction"] for p in record.predictions] for record in (first, last)]
    assert said[0] == said[1]
    assert [list(p["by"]) for p in last.predictions] == [[again.stages[0].key]] * 10


def test_the_oracle_is_a_control_that_trains_nothing_new(
    walk: PanelTrial, toy: Toy, store: Path
) -> None:
    oracle = walked(
        toy.walk(config({**LIVELY, "routing": "oracle"}), store, ORDERING, runner=walk.runner)
    )
    assert not any(stage.trained for stage in oracle.stages)
    assert oracle.matrices("oracle_score") == walk.matrices("oracle_score")
    assert oracle.matrices()[0].row(2) == walk.matrices("oracle_score")[0].row(2)
    assert oracle.matrices("retrieval_accuracy")[0].row(2) == {"light": 1.0, "hue": 1.0}


def test_thresholds_share_stages_of_three_tasks(walk: PanelTrial, toy: Toy, store: Path) -> None:
    shared = StageStore(store)
    keys: set[str] = set()
    for threshold in (1.0, 0.9, 0.5, 0.1, 0.0):
        chosen = config({**LIVELY, "threshold": threshold, "key_steps": 5}, epochs=1)
        made = walked(toy.walk(chosen, store, tuple(PROMPTS), runner=walk.runner))
        keys |= {stage.key for stage in made.stages}
        for path in made.paths:
            record = shared.get(made.key(path))
            assert record.parent == made.key(made.lineage.source(path))
    assert len(keys) < 5 * 3
    trained = [record for key in keys if (record := shared.get(key))]
    assert len(trained) == len(keys)


def test_a_task_without_images_has_no_image_similarity_and_is_routed_by_instruction(
    toy: Toy, tmp_path: Path
) -> None:
    benchmark = Path(shutil.copytree(toy.benchmark, tmp_path / "benchmark"))
    for file in (benchmark / "light").glob("*.parquet"):
        rows = [row | {"image": None} for row in pq.read_table(file).to_pylist()]
        write_rows(file, rows)
    text = replace(toy, benchmark=benchmark)
    chosen = config({**LIVELY, "expert": "trained", "learning_rate": 0}, epochs=1)
    walk = walked(text.walk(chosen, tmp_path, tuple(PROMPTS)))
    assert walk.stages[1].similarity["image"] == {"hue": 0.0}
    last = walk.stages[2].similarity["image"]
    assert last["hue"] > last["light"]
    assert set(walk.matrices("retrieval_accuracy")[0].row(3).values()) == {1.0}
