from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from toy import PROMPTS, Toy, config, walked

from strategies.similarity import (
    MODALITIES,
    SIGNALS,
    combine_signals,
    random_similarity,
    similarities,
)

X, Y = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]
LEANING = [0.6, 0.8, 0.0]
"""Cosine 0.6 to X and 0.8 to Y."""


def signature(**vectors: list[float]) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(vectors.get(name, X)) for name in MODALITIES}


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def test_the_similarity_of_one_pair_is_its_cosine() -> None:
    found = similarities(signature(image=LEANING), [signature(image=Y, answer=Y)])
    assert found["image"] == pytest.approx((0.8,))
    assert found["instruction"] == (1.0,)
    assert found["answer"] == (0.0,)
    opposed = similarities(signature(image=X), [signature(image=[-1.0, 0.0, 0.0])])
    assert opposed["image"] == (-1.0,)


def test_the_similarity_of_several_pairs_is_the_sigmoid_of_the_standardised_cosine() -> None:
    found = similarities(signature(image=LEANING), [signature(image=X), signature(image=Y)])
    pairs = [0.6, 0.8, 0.0]  # to X, to Y, and of X to Y
    mean = sum(pairs) / 3
    std = math.sqrt(sum((p - mean) ** 2 for p in pairs) / 2)  # unbiased
    assert found["image"] == pytest.approx([sigmoid((p - mean) / std) for p in (0.6, 0.8)])


def test_similarities_lie_between_0_and_1_in_the_order_of_the_cosines() -> None:
    draw = torch.Generator().manual_seed(0)
    for old in (2, 3, 7):
        vectors = torch.nn.functional.normalize(torch.randn(old + 1, 5, generator=draw), dim=1)
        tasks = [dict.fromkeys(MODALITIES, vector) for vector in vectors]
        found = similarities(tasks[0], tasks[1:])
        for values in found.values():
            assert len(values) == old
            assert all(0 < value < 1 for value in values)
            assert torch.tensor(values).argsort().equal((vectors[1:] @ vectors[0]).argsort())


def test_equally_similar_tasks_are_in_the_middle_and_a_first_task_has_no_similarity() -> None:
    same = similarities(signature(), [signature(), signature()])
    assert same["image"] == pytest.approx((0.5, 0.5))
    assert similarities(signature(), []) == dict.fromkeys(MODALITIES, ())


def test_tasks_without_images_have_no_image_similarity() -> None:
    """Compare them with vision towers of any width."""
    text = signature(image=[0.0])
    assert similarities(signature(image=LEANING), [text])["image"] == (0.0,)
    assert similarities(text, [signature(image=LEANING)])["image"] == (0.0,)
    assert similarities(text, [text])["image"] == (0.0,)
    mixed = similarities(signature(image=X), [text, signature(image=X)])["image"]
    assert mixed[1] > mixed[0]


@pytest.mark.parametrize("signal", SIGNALS)
def test_modalities_are_multiplied_as_the_signal_says(signal: str) -> None:
    similar = {"image": (0.5, 0.1), "instruction": (0.25, 0.3), "answer": (0.125, 0.7)}
    names = signal.split("*")
    assert set(names) <= set(MODALITIES)
    expected = [math.prod(similar[name][task] for name in names) for task in range(2)]
    assert combine_signals(similar, signal) == pytest.approx(expected)


def test_the_published_signal_is_the_product_of_all_three() -> None:
    similar = {"image": (0.5,), "instruction": (0.25,), "answer": (0.125,)}
    assert combine_signals(similar, SIGNALS[0]) == [0.015625]
    assert len(set(SIGNALS)) == 2 ** len(MODALITIES) - 1


def test_a_random_similarity_depends_on_the_names_alone() -> None:
    assert random_similarity("a", "b") == random_similarity("a", "b")
    values = [
        random_similarity(one, other) for one in "abcdefgh" for other in "abcdefgh" if one != other
    ]
    assert len(set(values)) == len(values)
    assert all(0 <= value < 1 for value in values)
    assert 0.4 < sum(values) / len(values) < 0.6


def test_the_record_of_a_stage_has_its_tasks_similarity(toy: Toy, tmp_path: Path) -> None:
    walk = walked(toy.walk(config("tir", epochs=1), tmp_path, tuple(PROMPTS)))
    records = [walk.store.get(stage.key) for stage in walk.stages]
    assert not records[0].similarity  # every strategy shares the first stage
    assert [record.old for record in records] == [(), ("hue",), ("hue", "light")]
    for number, record in list(enumerate(records))[1:]:
        assert set(record.similarity) == set(MODALITIES)
        told = walk.stages[number].similarity
        for name, values in record.similarity.items():
            assert told[name] == dict(zip(record.old, values, strict=True))
    signed = [walk.store.tensors(key) for _, key in walk.lineage.embeddings()]
    assert [task for task, _ in walk.lineage.embeddings()] == sorted(PROMPTS)
    for signature in signed:
        assert [float(v.norm()) for v in signature.values()] == pytest.approx([1.0] * 3)
    by_task = dict(zip(sorted(PROMPTS), signed, strict=True))
    again = similarities(by_task["half"], [by_task["hue"], by_task["light"]])
    assert {n: tuple(v) for n, v in records[2].similarity.items()} == again
    plain = walked(toy.walk(config(epochs=1), tmp_path, tuple(PROMPTS)))
    assert not any(plain.store.get(s.key).similarity for s in plain.stages)
