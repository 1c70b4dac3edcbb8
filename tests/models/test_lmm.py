"""Batches, losses, answers and adapters of both embedded families."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

import pytest
import torch
from losses import answer_loss
from peft.tuners.lora import LoraLayer
from toy import Toy

from models.batching import Encoded, encode
from models.lmm import LMM
from spaces import Adapter, InputError
from tasks import load_benchmark
from tasks.data.rows import Example
from trainables.rank.data import Data

FAMILIES = ("toy", "toy_instructblip")
ADAPTER = Adapter(rank=4)


@pytest.fixture(params=FAMILIES)
def lmm(request: pytest.FixtureRequest) -> LMM:
    """Load a fresh model of each family."""
    return LMM(request.getfixturevalue(request.param).model)


@pytest.fixture
def examples(toy: Toy) -> Callable[[LMM], list[Encoded]]:
    """Return a function that encodes six examples, with prompts and answers of several lengths."""
    tasks = load_benchmark(toy.benchmark).tasks.values()
    chosen = [task.examples("validation")[row] for task in tasks for row in (0, 1)]
    answers = ("red", "a long one", "dark", "no", "the left half of the picture", "right")
    chosen = [dataclasses.replace(e, answer=a) for e, a in zip(chosen, answers, strict=True)]

    def encoded(lmm: LMM) -> list[Encoded]:
        batch = [encode(lmm.processor, example) for example in chosen]
        assert len({len(e.prompt["input_ids"]) for e in batch}) == 3
        assert len({len(e.answer) for e in batch}) > 1
        return batch

    return encoded


def own_loss(lmm: LMM, example: Encoded) -> torch.Tensor:
    """Return the sum over the answer's tokens by the stock model's own loss, without padding."""
    inputs, _ = lmm._collated([example], with_answers=False)
    inputs["input_ids"] = torch.cat([inputs["input_ids"], example.answer[None]], dim=1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    labels = inputs["input_ids"].clone()
    labels[:, : -len(example.answer)] = -100
    for name in inputs:
        if "token_type" in name:
            kind = lmm.family.answer_token_type if name == "token_type_ids" else 0
            tail = torch.full((1, len(example.answer)), kind)
            inputs[name] = torch.cat([inputs[name], tail], dim=1)
    return lmm.model(**inputs, labels=labels).loss * len(example.answer)


def shaken(lmm: LMM, adapter: Adapter = ADAPTER) -> LMM:
    """Return the model with adapters that change its output."""
    lmm.adapt(adapter, seed=0)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in lmm.trainable().values():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return lmm


# Losses and answers ------------------------------------------------------------------------------


def test_the_loss_of_a_batch_is_the_sum_of_the_stock_models_own(lmm: LMM, examples) -> None:
    batch = examples(shaken(lmm))
    expected = sum(own_loss(lmm, example) for example in batch)
    assert answer_loss(lmm, batch).item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_gradient_of_the_loss_is_that_of_the_stock_loss(lmm: LMM, examples) -> None:
    batch = examples(shaken(lmm))[::2]
    weights = list(lmm.trainable().values())
    ours = torch.autograd.grad(answer_loss(lmm, batch), weights, allow_unused=True)
    theirs = torch.autograd.grad(sum(own_loss(lmm, e) for e in batch), weights, allow_unused=True)
    for our, their in zip(ours, theirs, strict=True):
        assert (our is None) == (their is None)
        assert our is None or torch.allclose(our, their, rtol=1e-3, atol=1e-4)


def test_padding_changes_no_answer(lmm: LMM, examples) -> None:
    batch = examples(shaken(lmm))
    together = lmm.answers(batch, max_new_tokens=5)
    assert together == [lmm.answers([example], max_new_tokens=5)[0] for example in batch]
    assert together[::-1] == lmm.answers(batch[::-1], max_new_tokens=5)
    assert len(set(together)) > 1
    assert all(answer == answer.strip() for answer in together)


def test_an_answer_has_at_most_the_tokens_asked_for_and_no_prompt(lmm: LMM, examples) -> None:
    for short, long in zip(
        lmm.answers(examples(lmm), max_new_tokens=1),
        lmm.answers(examples(lmm), max_new_tokens=4),
        strict=True,
    ):
        assert len(lmm.processor.tokenizer(short, add_special_tokens=False)["input_ids"]) <= 2
        assert long.startswith(short)
        assert "What color" not in long


def test_the_loss_depends_on_the_picture(lmm: LMM, examples) -> None:
    one, other = examples(lmm)[:2]
    swapped = Encoded({**one.prompt, "pixel_values": other.prompt["pixel_values"]}, one.answer)
    assert answer_loss(lmm, [swapped]).item() != pytest.approx(answer_loss(lmm, [one]).item())


def test_examples_with_and_without_a_picture_share_a_batch(toy: Toy) -> None:
    lmm = shaken(LMM(toy.model))
    pictured = load_benchmark(toy.benchmark).task("hue").examples("validation")[:2]
    text = dataclasses.replace(pictured[0], images=(), prompt="Which day is it?", answer="red")
    batch = [encode(lmm.processor, e) for e in (text, pictured[0], text, pictured[1])]
    expected = sum(answer_loss(lmm, [example]).item() for example in batch)
    assert answer_loss(lmm, batch).item() == pytest.approx(expected, rel=1e-5)
    assert lmm.answers(batch, 3) == [lmm.answers([example], 3)[0] for example in batch]


# Adapters ----------------------------------------------------------------------------------------

LORA = ("lora_A", "lora_B")


@pytest.mark.parametrize("parts", ["connector", "lm_lora", "connector+lm_lora"])
def test_only_the_parts_asked_for_are_trained(lmm: LMM, parts: str) -> None:
    lmm.adapt(Adapter(parts=parts, rank=4), seed=0)
    names = list(lmm.trainable())
    joins = [name for name in names if name.startswith(lmm.family.connector)]
    lora = [name for name in names if any(word in name for word in LORA)]
    assert bool(joins) == ("connector" in parts)
    assert bool(lora) == ("lm_lora" in parts)
    assert len(joins) + len(lora) == len(names)
    assert all(name.startswith(lmm.family.language_model) for name in lora)
    on_disk = [name for name, _ in lmm.base.named_parameters() if "lora_" not in name]
    assert len(joins) in (0, sum(name.startswith(lmm.family.connector) for name in on_disk))


def test_every_linear_layer_of_the_language_model_has_an_adapter_and_the_head_none(
    lmm: LMM,
) -> None:
    lmm.adapt(ADAPTER, seed=0)
    adapted = {name.split(".lora_")[0] for name in lmm.trainable() if "lora_" in name}
    assert len(adapted) == 2 * 7  # two layers of q, k, v, o, gate, up, down
    assert not [name for name in adapted if "lm_head" in name or "vision" in name]


def test_fresh_adapters_change_nothing(lmm: LMM, examples) -> None:
    before = answer_loss(lmm, examples(lmm)).detach()
    lmm.adapt(ADAPTER, seed=0)
    assert torch.equal(answer_loss(lmm, examples(lmm)).detach(), before)


def test_adapting_again_starts_from_the_model_on_disk(lmm: LMM, examples) -> None:
    untouched = answer_loss(lmm, examples(lmm)).detach()
    shaken(lmm)
    assert not torch.allclose(answer_loss(lmm, examples(lmm)).detach(), untouched)
    for again in (Adapter(rank=8), Adapter(parts="connector"), Adapter(parts="lm_lora", rank=2)):
        shaken(lmm)
        lmm.adapt(again, seed=0)
        assert torch.equal(answer_loss(lmm, examples(lmm)).detach(), untouched)
        assert {p.shape[0] for n, p in lmm.trainable().items() if "lora_A" in n} <= {again.rank}
    assert lmm.initial().keys() == lmm.trainable().keys()


def test_adapters_are_drawn_from_the_seed_alone(lmm: LMM) -> None:
    def drawn(seed: int) -> list[torch.Tensor]:
        torch.rand(3)
        lmm.adapt(ADAPTER, seed)
        return list(lmm.initial().values())

    first, again, other = drawn(1), drawn(1), drawn(2)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize(("rank", "alpha_per_rank"), [(1, 0.1), (2, 0.3), (8, 2.0)])
def test_the_scale_of_an_update_is_alpha_per_rank_and_never_rounded_away(
    rank: int, alpha_per_rank: float, toy: Toy
) -> None:
    lmm = LMM(toy.model)
    lmm.adapt(Adapter(rank=rank, alpha_per_rank=alpha_per_rank), seed=0)
    scales = [m.scaling["default"] for m in lmm.model.modules() if isinstance(m, LoraLayer)]
    assert scales == [pytest.approx(alpha_per_rank)] * 14


def test_a_model_of_another_family_is_refused(tmp_path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(InputError, match="known family"):
        LMM(tmp_path)


def test_the_trained_parts_can_be_switched_back_and_forth(lmm: LMM, toy: Toy) -> None:
    loaded = Data(load_benchmark(toy.benchmark), lmm, seed=0)
    picks = [("hue", row) for row in range(4)]
    lmm.adapt(ADAPTER, seed=0)
    first = answer_loss(lmm, loaded.training(picks)).item()
    lmm.adapt(Adapter(parts="vision_lora", rank=4), seed=0)
    assert all("pixel_values" in e.prompt for e in loaded.training(picks))
    assert answer_loss(lmm, loaded.training(picks)).item() == pytest.approx(first, rel=1e-5)
    names = set(lmm.trainable())
    assert names and all(lmm.family.vision_tower in name for name in names)
    lmm.adapt(ADAPTER, seed=0)
    assert not any("pixel_values" in e.prompt for e in loaded.training(picks))
    assert answer_loss(lmm, loaded.training(picks)).item() == first


# Conversations, and examples that are too long ---------------------------------------------------

IMAGE_ID = "<image>"


def text_of(lmm: LMM, example: Encoded) -> str:
    return lmm.processor.tokenizer.decode(example.prompt["input_ids"])


def test_images_replace_their_placeholders(toy: Toy) -> None:
    lmm = LMM(toy.model)
    (image,) = load_benchmark(toy.benchmark).task("hue").examples("train")[0].images
    example = Example("a", (image, image), f"is {IMAGE_ID} like {IMAGE_ID}?", "no", ("no",))
    (one,) = {
        text_of(lmm, encode(lmm.processor, dataclasses.replace(example, images=(image, image))))
    }
    before, between, after = re.split(rf"(?:{IMAGE_ID})+", one)
    assert (before.strip(), between.strip(), after.strip()) == ("is", "like", "?<answer>")
    first = encode(lmm.processor, dataclasses.replace(example, prompt="is it like it?"))
    assert text_of(lmm, first).startswith(IMAGE_ID * 2)


def test_earlier_turns_and_the_system_prompt_come_before_the_prompt(toy: Toy) -> None:
    lmm = LMM(toy.model)
    (image,) = load_benchmark(toy.benchmark).task("hue").examples("train")[0].images
    turns = ((f"{IMAGE_ID}\nwhat is it?", "a square"),)
    example = Example("a", (image,), "what color?", "red", ("red",), turns, "be short.")
    text = text_of(lmm, encode(lmm.processor, example)).replace(IMAGE_ID, "")
    places = [text.index(part) for part in ("be short.", "what is it?", "a square", "what color?")]
    assert places == sorted(places)


def test_an_example_that_is_too_long_loses_turns_then_words_and_never_an_image(toy: Toy) -> None:
    lmm = LMM(toy.model)
    (image,) = load_benchmark(toy.benchmark).task("hue").examples("train")[0].images
    turns = ((f"{IMAGE_ID}\nthe first question?", "one"), ("the second question?", "two"))
    words = " ".join(["what"] * 20) + " color?"
    example = Example("a", (image,), words, "red", ("red",), turns)
    whole = encode(lmm.processor, example)
    shown = text_of(lmm, whole).count(IMAGE_ID)
    shorter = encode(lmm.processor, example, whole.length - 2)
    assert "first" not in text_of(lmm, shorter) and "second" in text_of(lmm, shorter)
    shortest = encode(lmm.processor, example, shown + 12)
    assert shortest.length <= shown + 12
    assert text_of(lmm, shortest).count(IMAGE_ID) == shown
    assert "color?" in text_of(lmm, shortest)
    assert torch.equal(shortest.answer, whole.answer)
    with pytest.raises(InputError, match="example a must be shorter by"):
        encode(lmm.processor, example, shown)
