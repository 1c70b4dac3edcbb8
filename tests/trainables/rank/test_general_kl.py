"""Divergence of general tasks' answers from the untrained model's."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from ranks import launch
from safetensors.torch import load_file
from toy import Toy, adapted, config, walked
from transformers import AutoModelForImageTextToText

from models.batching import encode
from models.lmm import LMM
from models.processors import load_processor
from search.final.adapter_export import save_model
from strategies import EProj
from tasks import load_benchmark
from trainables.config import TrialConfig
from trainables.lanes.in_process import InProcessRunner
from trainables.metrics.glossary import GENERAL_KL
from trainables.panel import Panel
from trainables.rank import general_kl
from trainables.stage_job import in_order
from trainables.store.records import ScoreRecord
from trainables.store.stage_store import StageStore
from trainables.trial import PanelTrial

PANEL = Panel((("hue",),), general=("light", "half"))
EXPERTS = {"name": "eproj", "key_steps": 200, "key_rate": 0.02, "expert": "trained"}


def trial(
    toy: Toy, store: Path, chosen: TrialConfig, panel: Panel = PANEL, runner: Any = None
) -> PanelTrial:
    runner = runner or InProcessRunner(toy.worker_spec(store))
    return walked(PanelTrial(chosen, panel, toy.fingerprints(), StageStore(store), runner))


@pytest.fixture(scope="module")
def plain(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> PanelTrial:
    return trial(toy, tmp_path_factory.mktemp("kl"), config())


def kl(found: PanelTrial, row: int) -> dict[str, float]:
    return found.matrices(GENERAL_KL)[0].row(row)


@functools.cache
def stock(folder: Path) -> Any:
    return AutoModelForImageTextToText.from_pretrained(folder).eval()


def tuned(found: PanelTrial, toy: Toy, folder: Path) -> Any:
    """Return the trained model as stock transformers and peft load it from its exported adapters."""
    lmm = LMM(toy.model)
    lmm.adapt(found.config.adapter, 0)
    save_model(lmm, found.store.tensors(found.key((("hue",),))), folder, ("hue",))
    base = AutoModelForImageTextToText.from_pretrained(toy.model)
    base.load_state_dict(load_file(folder / "connector.safetensors"), strict=False)
    return PeftModel.from_pretrained(base, str(folder / "adapter")).eval()


def by_hand(before: Any, after: Any, toy: Toy, task: str) -> float:
    """Return sum_v p(v) ln(p(v) / q(v)), mean over the answers' tokens, one example at a time."""
    processor, terms = load_processor(toy.model), []
    for example in load_benchmark(toy.benchmark).task(task).examples("validation"):
        encoded = encode(processor, example)
        ids = torch.cat([encoded.prompt["input_ids"], encoded.answer])[None]
        pixels = encoded.prompt["pixel_values"]
        first = len(encoded.prompt["input_ids"]) - 1
        p, q = (
            model(input_ids=ids, pixel_values=pixels).logits[0, first:-1].double().softmax(-1)
            for model in (before, after)
        )
        terms += (p * (p / q).log()).sum(-1).tolist()
    return math.fsum(terms) / len(terms)


@torch.no_grad()
def test_it_is_the_formula_on_the_exported_model_in_stock_transformers(
    plain: PanelTrial, toy: Toy, tmp_path: Path
) -> None:
    after = tuned(plain, toy, tmp_path)
    for task in PANEL.general:
        expected = by_hand(stock(toy.model), after, toy, task)
        print(f"{task}: {kl(plain, 1)[task]:.6f} nats a token, by hand {expected:.6f}")
        assert expected > 0.1
        assert kl(plain, 1)[task] == pytest.approx(expected, rel=1e-4)


def test_the_untrained_model_does_not_diverge_and_only_general_tasks_have_a_divergence(
    plain: PanelTrial,
) -> None:
    assert kl(plain, 0) | {"hue": 0.0} == {"hue": 0.0, "light": 0.0, "half": 0.0}
    assert math.isnan(kl(plain, 0)["hue"])
    assert math.isnan(kl(plain, 1)["hue"])
    mean = (kl(plain, 1)["light"] + kl(plain, 1)["half"]) / 2
    assert plain.metrics()[GENERAL_KL] == pytest.approx(mean, rel=1e-12)


def test_untrained_weights_computed_as_if_they_were_a_stage_diverge_by_nothing(
    plain: PanelTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, job = plain.runner.worker.rank_context, plain.job((("hue",),))
    monkeypatch.setattr(context, "weights", lambda *_: context.lmm.initial())
    rows = {"other": range(10)}
    assert general_kl.mean_kl(context, job, "half", "validation", rows) == 0.0


def test_it_is_the_same_scored_alone_and_in_small_windows(
    plain: PanelTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scored in the engine that trained; here with the weights from the store, and other batches."""
    context, job = plain.runner.worker.rank_context, plain.job((("hue",),))
    found = {}
    for window in (1 << 28, 1):
        monkeypatch.setattr(general_kl, "WINDOW", window)
        answering = {job.key: range(10)}
        found[window] = general_kl.mean_kl(context, job, "half", "validation", answering)
        trained = context.weights(job.key, job)
        held = context.lmm.trainable()
        assert all(torch.equal(held[name], trained[name]) for name in trained)
    assert found[1 << 28] == pytest.approx(kl(plain, 1)["half"], rel=1e-6)
    assert found[1] == pytest.approx(found[1 << 28], rel=1e-4)


def test_ordinary_scores_do_not_move_by_it(plain: PanelTrial, toy: Toy, tmp_path: Path) -> None:
    without = trial(toy, tmp_path, config(), replace(PANEL, general=()))
    assert without.key((("hue",),)) == plain.key((("hue",),))
    for row in (0, 1):
        assert without.matrices()[0].row(row)["hue"] == plain.matrices()[0].row(row)["hue"]
    key = without.lineage.scored((("hue",),), "hue")
    one, other = (t.store.get(key) for t in (without, plain))
    assert isinstance(one, ScoreRecord)
    assert isinstance(other, ScoreRecord)
    assert one.predictions == other.predictions


def test_each_example_counts_with_the_expert_that_answers_it(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two experts: the untrained model, which knows `light`, and that of `hue`; rows in turn."""

    def in_turn(strategy: EProj, queries: object, kept: Sequence[object], *_: object) -> list[int]:
        return [row % len(kept) for row in range(10)]

    monkeypatch.setattr(EProj, "route", in_turn)
    panel = Panel((("hue",),), general=("half",), initial=("light",), initial_state="known")
    found = trial(toy, tmp_path, config({**EXPERTS, "learning_rate": 0}), panel)
    context, job = found.runner.worker.rank_context, found.job((("hue",),))
    base, own = found.lineage.base, found.key((("hue",),))
    place = [expert.key for expert in in_order(found.lineage.experts((("hue",),)))].index(own)
    of_hue = [row for row in range(10) if row % 2 == place]

    def mean(**rows: list[int]) -> float:
        keys = {{"own": own, "base": base}[name]: some for name, some in rows.items()}
        value = general_kl.mean_kl(context, job, "half", "validation", keys)
        assert value is not None
        return value

    tokens = [context.data.answer_length(("half", row), "validation") for row in range(10)]
    share = sum(tokens[row] for row in of_hue) / sum(tokens)
    assert kl(found, 1)["half"] == pytest.approx(share * mean(own=of_hue), rel=1e-6)
    assert 0 < kl(found, 1)["half"] < mean(own=[*range(10)])
    assert kl(found, 0)["half"] == mean(base=[*range(10)]) == 0.0


def test_after_initial_tasks_the_model_has_diverged_from_the_untrained_one(
    toy: Toy, tmp_path: Path
) -> None:
    panel = Panel((("hue",),), general=("half",), initial=("light",))
    found = trial(toy, tmp_path, config(epochs=1), panel)
    assert kl(found, 0)["half"] > 0
    matrix = found.matrices()[0].row(0)["half"] - found.matrices()[0].row(1)["half"]
    assert found.metrics()["general_drift"] == pytest.approx(matrix)


@pytest.mark.slow
def test_three_ranks_find_what_one_rank_finds(toy: Toy, tmp_path: Path) -> None:
    """With ZeRO-3, whose forward passes are collective, too; 10 rows are 4 for each rank but the last."""
    batch = {"epochs": 1, "batch_size": 6, "micro_batch": 2}
    chosen = {zero: adapted(config(**batch, zero=zero), targets="qv") for zero in (0, 3)}
    walks = [
        {
            **{"model": str(toy.model), "store": str(tmp_path / "three" / str(zero))},
            **{"config": one.to_dict(), "orderings": [["hue"]], "general": ["half"]},
        }
        for zero, one in chosen.items()
    ]
    (tmp_path / "three").mkdir()
    launch(tmp_path / "three", toy.benchmark, walks, ranks=3)
    panel = Panel((("hue",),), general=("half",))
    for zero, one in chosen.items():
        single = trial(toy, tmp_path / f"one-{zero}", one, panel)
        store = StageStore(tmp_path / "three" / str(zero))
        shared = PanelTrial(one, panel, toy.fingerprints(workers=3), store, single.runner)
        record = store.get(shared.lineage.scored((("hue",),), "half"))
        assert isinstance(record, ScoreRecord)
        assert record.general_kl == pytest.approx(kl(single, 1)["half"], rel=1e-3)
