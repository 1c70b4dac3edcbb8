"""The frozen vision tower, which runs once an image, against the stock model, which runs it each time."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from losses import answer_loss
from safetensors.torch import save_file
from toy import Toy
from transformers import AutoModelForImageTextToText

from models.batching import FEATURES, PIXELS, Encoded, encode
from models.frozen import map_to_file
from models.lmm import LMM
from spaces import Adapter
from tasks import load_benchmark
from trainables.rank import data
from trainables.rank.data import Data


@pytest.fixture(params=["toy", "toy_instructblip"])
def lmm(request: pytest.FixtureRequest) -> LMM:
    return LMM(request.getfixturevalue(request.param).model)


@pytest.fixture
def loaded(toy: Toy, lmm: LMM) -> Data:
    return Data(load_benchmark(toy.benchmark), lmm, seed=0)


def pixels_of(loaded: Data, task: str, rows: range) -> list[Encoded]:
    examples = loaded.examples(task, "train")
    return [encode(loaded.lmm.processor, examples[row]) for row in rows]


def task_of(loaded: Data) -> str:
    return loaded.benchmark.order[0]


def test_the_model_reads_features_as_the_stock_model_reads_pixels(lmm: LMM, loaded: Data) -> None:
    stock: Any = AutoModelForImageTextToText.from_pretrained(lmm.folder, dtype=torch.float32).eval()
    (plain,) = pixels_of(loaded, task_of(loaded), range(1))
    inputs, _ = lmm._collated([plain], with_answers=False)
    with torch.no_grad():
        expected = stock(**inputs).logits
        seen = loaded.encoded(task_of(loaded), "train", 0)
        given, _ = lmm._collated([seen], with_answers=False)
        with lmm._given(given) as arguments:
            logits = lmm.model(**arguments).logits
    assert PIXELS not in seen.prompt and FEATURES in seen.prompt
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)


def test_losses_gradients_and_answers_are_those_of_pixels(lmm: LMM, loaded: Data) -> None:
    task = task_of(loaded)
    lmm.adapt(Adapter(rank=4), seed=0)
    weights = list(lmm.trainable().values())
    plain = pixels_of(loaded, task, range(6))
    seen = loaded.training([(task, row) for row in range(6)])
    losses = [answer_loss(lmm, batch) for batch in (plain, seen)]
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-6, atol=1e-6)
    ours, theirs = (torch.autograd.grad(loss, weights, allow_unused=True) for loss in losses)
    for our, their in zip(ours, theirs, strict=True):
        assert (our is None) == (their is None)
        if our is not None and their is not None:
            torch.testing.assert_close(our, their, rtol=1e-4, atol=1e-6)
    assert lmm.answers(seen, 4) == lmm.answers(plain, 4)


def test_features_depend_on_the_image_alone(loaded: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    task = task_of(loaded)
    rows = list(range(20))
    first = {row: loaded.encoded(task, "train", row).prompt[FEATURES] for row in rows}
    random.Random(0).shuffle(rows)
    monkeypatch.setattr(data, "CACHE_BYTES", 1)  # nothing stays in the cache
    again = Data(loaded.benchmark, loaded.lmm, seed=0)
    for row in rows:
        assert torch.equal(again.encoded(task, "train", row).prompt[FEATURES], first[row])
    assert len(again._encoded) == 1


def test_the_trained_model_does_not_hold_the_tower(lmm: LMM) -> None:
    names = [name for name, _ in lmm.named_weights()]
    assert names and not [n for n in names if n.startswith(lmm.family.vision_tower + ".")]
    assert {name for name, _ in lmm.base.named_modules()} >= {lmm.family.vision_tower}


@pytest.mark.parametrize("layers", [-2, [-2, -1]])
@pytest.mark.parametrize("strategy", ["default", "full"])
def test_features_hold_the_layers_that_llava_reads(
    toy: Toy, layers: int | list[int], strategy: str, tmp_path: Path
) -> None:
    stock: Any = AutoModelForImageTextToText.from_pretrained(toy.model)
    config = stock.config
    config.vision_feature_layer, config.vision_feature_select_strategy = layers, strategy
    folder = tmp_path / "model"
    model = type(stock)(config)
    model.save_pretrained(folder)
    LMM(toy.model).processor.save_pretrained(folder)
    lmm = LMM(folder)
    size = config.vision_config.image_size
    image = torch.randn(3, size, size, generator=torch.Generator().manual_seed(0))
    expected = model.eval().get_image_features(pixel_values=image[None]).pooler_output
    inputs = {"pixel_values": image[None]}
    features = lmm.tower.capture(lambda: lmm.base.get_image_features(**inputs))
    with lmm.tower.reads_features(True), torch.no_grad():
        output = lmm.base.get_image_features(pixel_values=features)
    torch.testing.assert_close(output.pooler_output, expected, rtol=1e-5, atol=1e-5)


def test_computing_features_runs_no_hooks_of_the_model(lmm: LMM, loaded: Data) -> None:
    """Guard against the hooks of ZeRO-3, which fail where ranks embed different numbers of images."""
    ran: list[str] = []
    for name, module in lmm.base.named_modules():
        module.register_forward_pre_hook(lambda *_, name=name: ran.append(name))
        module.register_forward_hook(lambda *_, name=name: ran.append(name))
    seen = loaded.training([(task_of(loaded), row) for row in range(2)])
    assert not ran
    lmm.answer_logits(seen)
    assert ran.count(lmm.family.vision_tower) == 2


def mapped(lmm: LMM, file: Path) -> bool:
    """Return whether the tower's weights are in the pages of a file."""
    assert lmm.tower is not None
    addresses = [p.data_ptr() for part in lmm.tower.frozen_modules() for p in part.parameters()]
    lines = [ln.split() for ln in Path("/proc/self/maps").read_text().splitlines()]
    ends = [ln[0].split("-") for ln in lines if ln[-1] == str(file)]
    places = [range(int(first, 16), int(last, 16)) for first, last in ends]
    return all(any(address in place for place in places) for address in addresses)


def test_an_offloaded_tower_gives_the_same_features_from_the_pages_of_a_file(
    lmm: LMM, loaded: Data, tmp_path: Path
) -> None:
    assert lmm.tower is not None
    task, file = task_of(loaded), tmp_path / "tower" / "tower.safetensors"
    before = lmm.with_features(pixels_of(loaded, task, range(4)))
    assert not mapped(lmm, file)
    lmm.tower.offload(file)
    written = file.stat().st_mtime_ns
    assert mapped(lmm, file)
    after = lmm.with_features(pixels_of(loaded, task, range(4)))
    for one, other in zip(before, after, strict=True):
        assert torch.equal(one.prompt[FEATURES], other.prompt[FEATURES])
    again = LMM(lmm.folder)
    assert again.tower is not None
    again.tower.offload(file)
    assert mapped(again, file) and file.stat().st_mtime_ns == written
    again.adapt(Adapter(parts="lm_lora+vision_lora", rank=2), seed=0)
    assert again.tower is None
    assert answer_loss(again, pixels_of(loaded, task, range(2))).isfinite()


def test_an_offloaded_tower_moves_to_the_model_when_it_is_first_used(
    lmm: LMM, loaded: Data, tmp_path: Path
) -> None:
    """Use the meta device for a GPU."""
    tower = lmm.tower
    assert tower is not None
    tower.offload(tmp_path / "tower.safetensors")
    lmm.to("meta")
    assert lmm.device.type == "meta" and tower.parameter().device.type == "cpu"
    devices: list[torch.device] = []
    (module,) = tower.frozen_modules()
    module.register_forward_pre_hook(
        lambda _, args, kwargs: devices.append((*args, *kwargs.values())[0].device),
        with_kwargs=True,
    )
    with pytest.raises(NotImplementedError, match="meta"):  # it has no features to copy back
        lmm.with_features(pixels_of(loaded, task_of(loaded), range(2)))
    assert tower.parameter().device.type == "meta" and devices == [torch.device("meta")]


def test_the_weights_of_another_tower_are_set_aside(lmm: LMM, tmp_path: Path) -> None:
    assert lmm.tower is not None
    save_file({"0.weight": torch.zeros(3)}, tmp_path / "tower.safetensors")
    lmm.tower.offload(tmp_path / "tower.safetensors")
    assert mapped(lmm, tmp_path / "tower.safetensors")
    assert len([*tmp_path.glob("tower.safetensors.damaged-*")]) == 1


def test_a_flipped_bit_of_mapped_weights_is_found(tmp_path: Path) -> None:
    weights, file = {"w": torch.arange(64.0)}, tmp_path / "tokens.safetensors"
    map_to_file(weights, file)
    content = bytearray(file.read_bytes())
    content[-2] ^= 1
    file.write_bytes(content)
    assert torch.equal(map_to_file(weights, file)["w"], weights["w"])
