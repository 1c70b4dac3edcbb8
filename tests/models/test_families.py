"""Every family against its stock class: what it can do, as a table (`pytest --families FILE`)."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
from families import FAMILIES, write_model
from losses import answer_loss
from PIL import Image
from ranks import launch
from small import png
from test_lmm import own_loss, shaken
from toy import Toy, blobs, config, walked

from models.batching import Encoded, encode
from models.family import FAMILIES as DECLARED
from models.family import check_parts
from models.image_tokens import ImageTokens
from models.lmm import LMM
from models.location import model_folder
from models.processors import load_processor, needs_torchvision
from search.final.adapter_export import save_model
from spaces import Adapter, InputError
from tasks.data.rows import Example
from trainables.panel import Panel
from trainables.store.stage_store import StageStore
from trainables.trial import PanelTrial

RANK = 4
PARTS = ("connector", "projection", "qformer", "lm_lora", "vision_lora", "lm")
ORDERING = ("hue",)


def picture(width: int, height: int) -> bytes:
    import io

    out = io.BytesIO()
    Image.open(io.BytesIO(png(width, 48))).resize((width, height)).save(out, "PNG")
    return out.getvalue()


WIDE, TALL, SMALL = picture(100, 60), picture(40, 90), picture(64, 64)
SHOWN = (
    Example("wide", (WIDE,), "What color is it?", "red", ("red",)),
    Example("tall", (TALL,), "Is it light or dark, please?", "a long one", ("a long one",)),
    Example("small", (SMALL,), "Which half?", "no", ("no",)),
)
SAID = Example("said", (), "Which day is it?", "red", ("red",))
BOTH = Example("both", (WIDE, TALL), "Is <image> like <image>?", "no", ("no",))
AGAIN = replace(SHOWN[0], history=(("What is it?", "a square"),), system="Answer in short.")


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a model folder for each family."""
    root = tmp_path_factory.mktemp("families")
    return {name: write_model(name, root / name) for name in FAMILIES}


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def lmm(family: str, folders: dict[str, Path]) -> LMM:
    return LMM(model_folder(folders[family]))


def examples(lmm: LMM) -> list[Encoded]:
    """Encode every kind of example of the family: image sizes, text alone, two images, earlier turns."""
    chosen = [*SHOWN, AGAIN]
    chosen += [SAID] if lmm.family.text_alone else []
    chosen += [BOTH] if lmm.family.several_images else []
    return [encode(lmm.processor, example) for example in chosen]


def test_loads(lmm: LMM, family: str) -> None:
    kind = type(FAMILIES[family]()[0])
    assert type(lmm.base) is kind
    assert lmm.family in DECLARED


def test_image_tokens_are_counted_without_weights(
    lmm: LMM, family: str, folders: dict[str, Path]
) -> None:
    tokens = ImageTokens(folders[family])
    for encoded in examples(lmm):
        tokens.check(encoded, "it")
    ids = encode(lmm.processor, SHOWN[0]).prompt["input_ids"]
    short = encode(lmm.processor, SHOWN[0])
    short.prompt["input_ids"] = torch.cat([ids[ids != tokens.token], ids[-1:]])
    with pytest.raises(InputError, match=r"as many image tokens as the model sees.*it has 0 and "):
        tokens.check(short, "it")


def test_loss_is_the_stock_models(lmm: LMM) -> None:
    batch = examples(shaken(lmm))
    expected = sum(own_loss(lmm, example).item() for example in batch)
    assert answer_loss(lmm, batch).item() == pytest.approx(expected, rel=1e-4)


def test_cached_features_equal_live_ones(lmm: LMM) -> None:
    plain = examples(shaken(lmm))
    together, alone = (
        lmm.with_features(plain),
        [e for one in plain for e in lmm.with_features([one])],
    )
    assert not any("pixel_values" in e.prompt for e in together)
    weights = list(lmm.trainable().values())
    live = answer_loss(lmm, plain)
    theirs = torch.autograd.grad(live, weights, allow_unused=True)
    for cached in (together, alone):
        loss = answer_loss(lmm, cached)
        torch.testing.assert_close(loss, live, rtol=1e-5, atol=1e-5)
        for our, their in zip(
            torch.autograd.grad(loss, weights, allow_unused=True), theirs, strict=True
        ):
            assert (our is None) == (their is None)
            if our is not None and their is not None:
                torch.testing.assert_close(our, their, rtol=1e-3, atol=1e-4)
    assert lmm.answers(together, 4) == lmm.answers(plain, 4)


def test_generates_in_batches(lmm: LMM) -> None:
    batch = examples(shaken(lmm))
    together = lmm.answers(batch, 4)
    assert together == [lmm.answers([example], 4)[0] for example in batch]
    assert len(set(together)) > 1


@pytest.mark.parametrize("parts", PARTS)
def test_trains(lmm: LMM, parts: str) -> None:
    adapter = Adapter(parts=parts, rank=RANK)
    if parts == "qformer" and not lmm.family.qformer:
        with pytest.raises(InputError, match="only families with a Q-Former"):
            check_parts(lmm.family, adapter)
        pytest.skip("has no Q-Former")
    check_parts(lmm.family, adapter)
    lmm.adapt(adapter, seed=0)
    batch, losses = lmm.with_features(examples(lmm)), []
    before = {name: p.detach().clone() for name, p in lmm.base.named_parameters()}
    optimizer = torch.optim.AdamW(lmm.trainable().values(), lr=1e-2, weight_decay=0.0)
    for _ in range(6):
        loss = answer_loss(lmm, batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.97 * losses[0]
    moved = {n for n, p in lmm.base.named_parameters() if not torch.equal(p, before[n])}
    assert moved and moved <= {n for n, p in lmm.base.named_parameters() if p.requires_grad}
    assert (lmm.tower is None) == (parts == "vision_lora")


def test_checkpointing_changes_no_gradient(lmm: LMM) -> None:
    batch = lmm.with_features(examples(shaken(lmm)))
    weights = list(lmm.trainable().values())
    lmm.model.train()
    plain = torch.autograd.grad(answer_loss(lmm, batch), weights, allow_unused=True)
    lmm.base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    again = torch.autograd.grad(answer_loss(lmm, batch), weights, allow_unused=True)
    for one, other in zip(plain, again, strict=True):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


# Saved, and loaded by plain transformers and peft ------------------------------------------------


def images_alone(folder: str) -> Any:
    """Load a processor without its part for videos, which needs torchvision."""
    processor = load_processor(Path(folder))
    if type(processor).__name__ == "SmolVLMProcessor":  # its chat template reads these
        processor.video_processor = SimpleNamespace(
            num_frames=1, fps=1, size={"longest_edge": 64}, video_sampling={}
        )
    return processor


@pytest.mark.parametrize("parts", ["connector+lm_lora", "connector+lm+vision_lora"])
def test_saved_loads_in_plain_transformers_and_peft(
    lmm: LMM, parts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lmm.adapt(Adapter(parts=parts, rank=RANK), seed=0)
    torch.manual_seed(5)
    weights = {n: p + 0.1 * torch.randn(p.shape) for n, p in lmm.initial().items()}
    save_model(lmm, weights, tmp_path, ORDERING)
    (tmp_path / "image.png").write_bytes(WIDE)
    load, ask = re.findall(r"```python\n(.*?)```", (tmp_path / "README.md").read_text(), re.DOTALL)
    plain: dict[str, Any] = {}
    monkeypatch.chdir(tmp_path)
    if needs_torchvision(type(lmm.processor)):
        monkeypatch.setattr(transformers.AutoProcessor, "from_pretrained", images_alone)
    exec(load, plain)
    exec(ask, plain)
    batch = [encode(lmm.processor, replace(SHOWN[0], prompt="what is shown?"))]
    inputs, _ = lmm._collated(batch, with_answers=False)
    assert torch.equal(plain["inputs"]["input_ids"], inputs["input_ids"])
    with torch.no_grad():
        expected = lmm.model.eval()(**inputs).logits
        logits = plain["model"].eval()(**plain["inputs"]).logits
        untuned = LMM(lmm.folder).model(**inputs).logits
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(untuned, expected, atol=1e-2)


# Strategies --------------------------------------------------------------------------------------

SEVERAL = ("hue", "light")
EVERY_HOOK = {
    **{"name": "der+a_gem+mas+lwf", "der_ratio": 0.3, "a_gem_ratio": 0.3},
    **{"mas_strength": 1e4, "mas_importance_batch": 12},
}
SIMILAR = {
    "name": "replay+tir",
    "replay_ratio": 0.3,
    "tir_strength": 1e4,
    "tir_importance_batch": 12,
}
EXPERTS = {"name": "eproj", "learning_rate": 0.02, "key_steps": 200, "key_rate": 0.05}


@pytest.fixture(scope="session")
def plain(folders: dict[str, Path], toy_benchmark: Path, tmp_path_factory: pytest.TempPathFactory):
    """Return a function that trains two stages of finetune, once a family."""
    root, trials = tmp_path_factory.mktemp("family-plain"), {}

    def walk(family: str) -> PanelTrial:
        if family not in trials:
            trials.clear()  # one model in memory is enough
            toy = Toy(toy_benchmark, folders[family])
            trials[family] = walked(toy.walk(config(epochs=1), root / family, SEVERAL))
        return trials[family]

    return walk


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [EVERY_HOOK, SIMILAR, EXPERTS], ids=lambda s: s["name"])
def test_strategies(
    family: str, strategy: dict[str, Any], folders: dict[str, Path], toy_benchmark: Path, plain
) -> None:
    toy, without = Toy(toy_benchmark, folders[family]), plain(family)
    chosen = config(strategy, epochs=1)
    walk = walked(toy.walk(chosen, without.store.root, SEVERAL, runner=without.runner))
    assert blobs(walk)[-1] != blobs(without)[-1]
    last = walk.store.tensors(walk.stages[-1].key)
    assert all(w.isfinite().all() for w in last.values())
    assert walk.job(walk.paths[-1]).empty
    if strategy is EVERY_HOOK:
        kept = walk.store.tensors(walk.lineage.kept(walk.paths[0])[0][1])
        assert {name.partition("/")[0] for name in kept} == {"der", "mas"}
    else:
        similar = [s for of in walk.stages[-1].similarity.values() for s in of.values()]
        assert len(similar) == 3
        assert all(-1 <= s <= 1 for s in similar)
    if strategy is EXPERTS:
        assert (walk.matrices("retrieval_accuracy")[0].values[2] == 1.0).all()


# DeepSpeed on two ranks --------------------------------------------------------------------------

KNOBS = {"epochs": 1, "micro_batch": 4}
ZEROS = (2, 3)


def chosen(zero: int) -> Any:
    return config(zero=zero, checkpointing=zero > 0, **KNOBS)


@pytest.fixture(scope="session")
def two_ranks(
    folders: dict[str, Path], toy_benchmark: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Train every family with each ZeRO stage on two ranks, and return the folder of their stores."""
    root = tmp_path_factory.mktemp("family-ranks")
    walks = [
        {
            **{"model": str(folder), "store": str(root / f"{name}-{zero}")},
            **{"config": chosen(zero).to_dict(), "orderings": [ORDERING]},
        }
        for name, folder in folders.items()
        for zero in ZEROS
    ]
    launch(root, toy_benchmark, walks)
    return root


@pytest.fixture(scope="session")
def one_rank(
    folders: dict[str, Path], toy_benchmark: Path, tmp_path_factory: pytest.TempPathFactory
):
    """Return a function that trains the same stage in this process without ZeRO, once a family."""
    root, trials = tmp_path_factory.mktemp("family-one"), {}

    def walk(family: str) -> PanelTrial:
        if family not in trials:
            toy = Toy(toy_benchmark, folders[family])
            trials[family] = walked(toy.walk(chosen(0), root / family, ORDERING))
        return trials[family]

    return walk


@pytest.mark.slow
@pytest.mark.parametrize("zero", ZEROS)
def test_two_ranks_with_zero_and_checkpointing_train_as_one(
    family: str, zero: int, folders: dict[str, Path], toy_benchmark: Path, two_ranks: Path, one_rank
) -> None:
    one, toy = one_rank(family), Toy(toy_benchmark, folders[family])
    store = StageStore(two_ranks / f"{family}-{zero}")
    two = walked(
        PanelTrial(chosen(zero), Panel((ORDERING,)), toy.fingerprints(workers=2), store, None)
    )
    assert len(blobs(two)) == 1
    (path,) = one.paths
    ours, theirs = (walk.store.tensors(walk.key(path)) for walk in (one, two))
    for name, weight in ours.items():
        if name.endswith("key.bias"):  # it does not change softmax: AdamW follows rounding errors
            continue
        assert float((weight - theirs[name]).norm()) <= 1e-3 * float(weight.norm()), name
    assert two.matrices()[0].values == pytest.approx(
        one.matrices()[0].values, abs=0.11, nan_ok=True
    )
