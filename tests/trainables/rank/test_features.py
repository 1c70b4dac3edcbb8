from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest
import torch
from small import write_rows
from toy import FP32, PROMPTS, Toy, adapted, blobs, config, walked

from models.batching import FEATURES, PIXELS
from models.lmm import LMM
from models.loading import IMAGES_PER_CALL
from search.resources.feature_writer import COMPUTED_SCHEMA, FeatureWriter
from search.resources.precompute_features import FeatureExtractor
from spaces.loading import Loading
from tasks import load_benchmark
from trainables.lanes.in_process import InProcessRunner
from trainables.rank.data import Data
from trainables.rank.features import (
    EXAMPLE_SCHEMA,
    FeatureFiles,
    examples_file,
    feature_reader,
    features_folder,
    idle_weights_folder,
    image_digest,
    record_batches,
)


def computed_tables(toy: Toy, loading: Loading = FP32) -> Iterator[pa.Table]:
    """Compute the features of the whole benchmark, the last block first."""
    extractor = FeatureExtractor(toy.model, toy.benchmark, loading, 0)
    for task in PROMPTS:
        for split, count in (("train", 24), ("validation", 10)):
            for first in reversed(range(0, count, IMAGES_PER_CALL)):
                block = {"task": [task], "split": [split], "first": [first]}
                yield extractor(pa.table(block))


@pytest.fixture(scope="module")
def root(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the features of the whole benchmark."""
    root = tmp_path_factory.mktemp("features")
    writer = FeatureWriter(
        features_folder(root, toy.fingerprints().model, FP32), toy.feature_cache(root)
    )
    for table in computed_tables(toy):
        writer.add(table)
    writer.publish()
    writer.discard()
    return root


def data(toy: Toy, root: Path | None, loading: Loading = FP32) -> Data:
    ask = feature_reader(toy.feature_cache(root) if root else None, loading)
    return Data(load_benchmark(toy.benchmark), LMM(toy.model, loading), 0, 0, ask)


def test_cached_features_equal_those_computed_now_to_the_last_bit(toy: Toy, root: Path) -> None:
    kept, live = data(toy, root), data(toy, None)
    kept.lmm.with_features = None  # type: ignore[assignment]  # it looks at nothing itself
    for task in PROMPTS:
        for split, count in (("train", 24), ("validation", 10)):
            for row in range(count):
                one, other = kept.encoded(task, split, row), live.encoded(task, split, row)
                assert set(one.prompt) == set(other.prompt)
                assert FEATURES in one.prompt
                assert PIXELS not in one.prompt
                for name, value in one.prompt.items():
                    assert torch.equal(value, other.prompt[name]), name
                    assert value.dtype == other.prompt[name].dtype
                assert torch.equal(one.answer, other.answer)


def test_training_on_cached_features_ends_in_the_same_bits(
    toy: Toy, root: Path, tmp_path: Path
) -> None:
    live = walked(toy.walk(config("ewc", epochs=1), tmp_path / "live"))
    worker_spec = dataclasses.replace(
        toy.worker_spec(tmp_path / "kept"), features=toy.feature_cache(root)
    )
    kept = toy.walk(config("ewc", epochs=1), tmp_path / "kept", runner=InProcessRunner(worker_spec))
    worker = kept.runner.worker
    kept.step()
    assert worker.rank_context.data.images_embedded == 0  # in this process
    assert (idle_weights_folder(toy.feature_cache(root), FP32) / "tower.safetensors").exists()
    assert blobs(walked(kept)) == blobs(live)
    assert kept.matrices() == live.matrices()


def test_no_cached_feature_is_used_where_the_tower_is_trained(
    toy: Toy, root: Path, tmp_path: Path
) -> None:
    trained = adapted(config(epochs=1), parts="vision_lora")
    worker_spec = dataclasses.replace(toy.worker_spec(tmp_path), features=toy.feature_cache(root))
    walk = walked(toy.walk(trained, tmp_path, ("hue",), runner=InProcessRunner(worker_spec)))
    assert len(walk.runner.worker.rank_context.data._encoded) >= 24
    assert PIXELS in walk.runner.worker.rank_context.data.encoded("hue", "train", 0).prompt


def test_features_that_are_not_cached_are_computed_when_needed(toy: Toy, root: Path) -> None:
    kept = data(toy, root)
    assert kept.encoded("hue", "test", 0).prompt[FEATURES].numel()
    assert list(kept._encoded) == [("hue", "test", row) for row in range(IMAGES_PER_CALL)]


def test_another_precision_has_a_cache_of_its_own(toy: Toy, root: Path) -> None:
    bf16 = Loading(precision="bf16")
    fingerprint = toy.fingerprints().model
    folders = {features_folder(root, fingerprint, held) for held in (FP32, bf16)}
    assert len(folders) == 2
    checkpointed = dataclasses.replace(FP32, checkpointing=True)
    assert features_folder(root, fingerprint, checkpointed) in folders  # it sees the same
    found = data(toy, root, bf16).encoded("hue", "train", 0)
    assert found.prompt[FEATURES].dtype == torch.bfloat16


def test_bf16_comes_back_as_it_was(toy: Toy, tmp_path: Path) -> None:
    bf16 = Loading(precision="bf16")
    writer = FeatureWriter(
        features_folder(tmp_path, toy.fingerprints().model, bf16), toy.feature_cache(tmp_path)
    )
    for table in computed_tables(toy, bf16):
        writer.add(table)
    writer.publish()
    one, other = (data(toy, r, bf16).encoded("light", "train", 5) for r in (tmp_path, None))
    assert torch.equal(one.prompt[FEATURES], other.prompt[FEATURES])


def test_an_image_of_several_tasks_is_cached_once(toy: Toy, tmp_path: Path) -> None:
    benchmark = Path(shutil.copytree(toy.benchmark, tmp_path / "benchmark"))
    rows = load_benchmark(toy.benchmark).tasks["hue"].examples("train")
    write_rows(
        benchmark / "light" / "train.parquet",
        [
            {"id": e.id, "image": {"bytes": e.images[0], "path": None}, "prompt": "Dark?"}
            | {"answer": "no", "answers": ["no"]}
            for e in rows
        ],
    )
    same = dataclasses.replace(toy, benchmark=benchmark)
    folder = features_folder(tmp_path, same.fingerprints().model, FP32)
    writer = FeatureWriter(folder, same.feature_cache(tmp_path))
    for table in computed_tables(same):
        writer.add(table)
    writer.publish()
    (file,) = (folder / "images").glob("*.arrow")
    names = [name.as_py() for batch in record_batches(file) for name in batch["image"]]
    assert len(names) == len(set(names)) == 3 * (24 + 10) - 24
    kept = data(same, tmp_path)
    one, other = (kept.encoded(task, "train", 3).prompt[FEATURES] for task in ("hue", "light"))
    assert torch.equal(one, other)


def test_the_digest_of_images_depends_on_their_number() -> None:
    one, two = (SimpleNamespace(images=images) for images in ((b"ab",), (b"a", b"b")))
    assert image_digest(one) != image_digest(two)  # type: ignore[arg-type]
    assert image_digest(SimpleNamespace(images=())) == ""  # type: ignore[arg-type]


def test_an_interrupted_writer_leaves_no_file_that_is_read(toy: Toy, tmp_path: Path) -> None:
    folder = features_folder(tmp_path, toy.fingerprints().model, FP32)
    writer = FeatureWriter(folder, toy.feature_cache(tmp_path))
    writer.add(next(computed_tables(toy)))
    assert not FeatureFiles(folder).example(
        examples_file(folder, toy.fingerprints().tasks["hue"], "train", 0), 0
    )
    assert not list((folder / "images").glob("*.arrow"))
    writer.discard()
    assert not list((folder / "images").iterdir())


def test_a_disk_that_is_too_small_is_reported_before_it_is_full(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = FeatureWriter(
        features_folder(tmp_path, toy.fingerprints().model, FP32), toy.feature_cache(tmp_path)
    )
    table = next(computed_tables(toy))
    assert writer.fits(table, 10.0)
    free = SimpleNamespace(free=int(5 * table.nbytes))
    monkeypatch.setattr("search.resources.feature_writer.shutil.disk_usage", lambda folder: free)
    assert not writer.fits(table, 10.0)
    assert writer.fits(table, 2.0)
    assert COMPUTED_SCHEMA.names[: len(EXAMPLE_SCHEMA)] == EXAMPLE_SCHEMA.names
