"""A frozen Q-Former, which runs once an example, against the stock model."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from families import write_model
from losses import answer_loss
from toy import FP32, PROMPTS, Toy, adapted, blobs, config, walked

from models.batching import FEATURES, PIXELS, QUERIES, encode
from models.lmm import LMM
from models.loading import IMAGES_PER_CALL
from search.resources.feature_writer import FeatureWriter
from search.resources.precompute_features import FeatureExtractor
from spaces import Adapter
from tasks import load_benchmark
from trainables.lanes.in_process import InProcessRunner
from trainables.rank.data import Data
from trainables.rank.features import feature_reader, features_folder

PROJECTION = Adapter(parts="projection")


def data(toy: Toy, lmm: LMM, ask: Any = None) -> Data:
    return Data(load_benchmark(toy.benchmark), lmm, 0, 0, ask)


def computed_tables(extractor: FeatureExtractor, task: str, split: str, first: int) -> pa.Table:
    return extractor(pa.table({"task": [task], "split": [split], "first": [first]}))


@pytest.mark.parametrize("parts", ["projection", "lm_lora", "projection+lm_lora"])
def test_losses_gradients_and_answers_are_those_of_pixels(
    toy_instructblip: Toy, parts: str
) -> None:
    lmm, stock = LMM(toy_instructblip.model), LMM(toy_instructblip.model)
    for one in (lmm, stock):
        one.adapt(Adapter(parts=parts, rank=4), seed=0)
    stock._place_parts(False, True)
    loaded, task = data(toy_instructblip, lmm), next(iter(PROMPTS))
    read = loaded.training([(task, row) for row in range(6)])
    plain = [encode(stock.processor, loaded.examples(task, "train")[row]) for row in range(6)]
    assert all(QUERIES in one.prompt and FEATURES in one.prompt for one in read)
    losses = [answer_loss(lmm, read), answer_loss(stock, plain)]
    torch.testing.assert_close(*losses, rtol=1e-6, atol=1e-6)
    names = lmm.trainable().keys()
    assert names == stock.trainable().keys()
    ours, theirs = (
        torch.autograd.grad(loss, list(one.trainable().values()), allow_unused=True)
        for loss, one in zip(losses, (lmm, stock), strict=True)
    )
    for our, their in zip(ours, theirs, strict=True):
        assert our is not None and their is not None
        torch.testing.assert_close(our, their, rtol=1e-4, atol=1e-6)
    assert lmm.answers(read, 4) == stock.answers(plain, 4)


@pytest.mark.parametrize("name", ["blip_2", "instructblip"])
def test_it_runs_once_an_example_and_not_while_training(
    name: str, toy_instructblip: Toy, tmp_path: Path
) -> None:
    lmm = LMM(write_model(name, tmp_path))
    lmm.adapt(PROJECTION, seed=0)
    reads: list[int] = []
    lmm.qformer._qformer[0].register_forward_hook(lambda *_: reads.append(1))
    loaded, task = data(toy_instructblip, lmm), next(iter(PROMPTS))
    for _ in range(3):
        answer_loss(lmm, loaded.training([(task, row) for row in range(IMAGES_PER_CALL)]))
    assert len(reads) == 1 and loaded.images_embedded == IMAGES_PER_CALL


def test_a_frozen_q_former_has_no_dropout(toy_instructblip: Toy) -> None:
    lmm = LMM(toy_instructblip.model)
    for module in lmm.base.qformer.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    lmm.base.train()
    lmm.adapt(PROJECTION, seed=0)
    loaded, task = data(toy_instructblip, lmm), next(iter(PROMPTS))
    first, again = (data(toy_instructblip, lmm).encoded(task, "train", 0) for _ in range(2))
    assert torch.equal(first.prompt[QUERIES], again.prompt[QUERIES])
    assert loaded.images_embedded == 0


def test_trials_that_train_and_that_freeze_it_alternate(toy_instructblip: Toy) -> None:
    lmm = LMM(toy_instructblip.model)
    loaded, task = data(toy_instructblip, lmm), next(iter(PROMPTS))
    losses = []
    for parts in ("connector", "projection", "connector", "vision_lora+projection", "projection"):
        lmm.adapt(Adapter(parts=parts, rank=2), seed=0)
        batch = loaded.training([(task, row) for row in range(4)])
        assert (lmm.qformer is not None) == (parts == "projection")
        assert (PIXELS in batch[0].prompt) == parts.startswith("vision")
        losses.append(answer_loss(lmm, batch))
        names = {n.partition(".")[0] for n in lmm.trainable()}
        assert ("qformer" in names and "query_tokens" in names) == (parts == "connector")
    for loss in losses:
        torch.testing.assert_close(loss, losses[0], rtol=1e-5, atol=1e-5)
    # Once for trials that freeze the tower, and again after it was trained and the cache was emptied.
    assert loaded.images_embedded == 3 * IMAGES_PER_CALL


@pytest.mark.parametrize("zero", [0, 3])
def test_a_strategy_that_freezes_it_trains_to_the_same_bits_from_queries_on_disk(
    toy_instructblip: Toy, tmp_path: Path, zero: int
) -> None:
    toy, root = toy_instructblip, tmp_path / "features"
    chosen = config({"name": "eproj", "key_steps": 5}, epochs=1, zero=zero)
    writer = FeatureWriter(
        features_folder(root, toy.fingerprints().model, FP32), toy.feature_cache(root), read=True
    )
    extractor = FeatureExtractor(toy.model, toy.benchmark, FP32, 0, read=True)
    for task in PROMPTS:
        for split, count in (("train", 24), ("validation", 10)):
            for first in range(0, count, IMAGES_PER_CALL):
                writer.add(computed_tables(extractor, task, split, first))
    writer.publish()
    live = walked(toy.walk(chosen, tmp_path / "live"))
    worker_spec = dataclasses.replace(
        toy.worker_spec(tmp_path / "kept"), features=toy.feature_cache(root)
    )
    kept = walked(toy.walk(chosen, tmp_path / "kept", runner=InProcessRunner(worker_spec)))
    worker = kept.runner.worker
    assert (
        worker.rank_context.data.images_embedded == 0
        and worker.rank_context.lmm.qformer is not None
    )
    assert blobs(kept) == blobs(live)
    assert kept.matrices() == live.matrices()
    assert adapted(chosen).adapter.parts == "projection"


def test_missing_queries_are_computed_from_the_features_on_disk(
    toy_instructblip: Toy, tmp_path: Path
) -> None:
    toy, task = toy_instructblip, next(iter(PROMPTS))
    writer = FeatureWriter(
        features_folder(tmp_path, toy.fingerprints().model, FP32), toy.feature_cache(tmp_path)
    )
    extractor = FeatureExtractor(toy.model, toy.benchmark, FP32, 0)
    for first in range(0, 24, IMAGES_PER_CALL):
        writer.add(computed_tables(extractor, task, "train", first))
    writer.publish()
    queries = []
    for ask in (feature_reader(toy.feature_cache(tmp_path), FP32), None):
        lmm = LMM(toy.model)
        lmm.adapt(PROJECTION, seed=0)
        loaded = data(toy, lmm, ask)
        queries.append(loaded.encoded(task, "train", 3).prompt[QUERIES])
        assert loaded.images_embedded == (0 if ask else IMAGES_PER_CALL)
    assert torch.equal(*queries)
