from __future__ import annotations

import pytest
import torch
from toy import config

from spaces import Adapter, Training
from strategies import EProj, Queries, StageContext, StartFrom
from strategies.eproj import KEY_WEIGHT, cosine, train_key


def queries(image: list[list[float]], instruction: list[list[float]]) -> Queries:
    return Queries(torch.tensor(image), torch.tensor(instruction))


def near(middle: list[float], count: int = 40, spread: float = 0.3) -> torch.Tensor:
    """Return vectors of length 1 about a direction."""
    draw = torch.Generator().manual_seed(1)
    vectors = torch.tensor(middle) + spread * torch.randn(count, len(middle), generator=draw)
    return torch.nn.functional.normalize(vectors, dim=-1)


# What it decides ---------------------------------------------------------------------------------


def begun(similar: tuple[float, ...], **knobs) -> StartFrom:
    old = tuple((name,) for name in "abcd"[: len(similar)])
    signal = {"image": similar, "instruction": similar, "answer": similar}
    return EProj(signal="image", **knobs).begin(StageContext(("new",), old, signal))


@pytest.mark.parametrize(
    ("threshold", "begin"),
    [
        (0.0, StartFrom("b")),
        (0.6, StartFrom("b")),
        (0.7, StartFrom(None, expert=True)),  # more than it, not as much as it
        (0.8, StartFrom(None, expert=True)),
        (1.0, StartFrom(None, expert=True)),
    ],
)
def test_the_most_similar_expert_is_trained_further_above_the_threshold(
    threshold: float, begin: StartFrom
) -> None:
    assert begun((0.2, 0.7, 0.5), threshold=threshold) == begin


def test_threshold_0_never_expands_and_1_always_does_whatever_the_similarity() -> None:
    assert begun((-0.5, -0.9), threshold=0) == StartFrom("a")
    assert begun((0.0,), threshold=0) == StartFrom("a")
    assert begun((1.0,), threshold=1) == StartFrom(None, expert=True)


def test_a_new_expert_begins_as_the_models_own_or_the_most_similar_ones() -> None:
    assert begun((0.2, 0.7)) == StartFrom(None, expert=True)
    assert begun((0.2, 0.7), init="similar") == StartFrom("b", expert=True)
    for init in ("pretrained", "similar"):
        assert begun((), init=init) == StartFrom(None, expert=True)


def test_by_default_it_trains_the_projection_alone_with_its_own_learning_rate() -> None:
    training, adapter = Training(learning_rate=2e-4), Adapter(parts="connector+lm_lora")
    own = EProj().override_shared(training, adapter)
    assert (own[0].learning_rate, own[1].parts) == (1e-3, "projection")
    assert EProj().override_shared(*own) == own
    assert EProj(learning_rate=0, expert="trained").override_shared(training, adapter) == (
        training,
        adapter,
    )
    chosen = config("eproj")
    assert (chosen.training.learning_rate, chosen.adapter.parts) == (1e-3, "projection")


# Keys and retrieval ------------------------------------------------------------------------------


def test_a_key_is_near_the_mean_of_its_queries() -> None:
    defaults = EProj()
    vectors = near([0.0, -1.0, 1.0, 0.5])
    found = train_key(vectors, defaults.key_steps, defaults.key_rate)
    assert float(torch.cosine_similarity(found, vectors.mean(0), dim=0)) > 0.99
    assert not found.requires_grad
    assert torch.equal(train_key(vectors, 20, 0.1), train_key(vectors, 20, 0.1))


def test_a_step_of_the_key_is_adams_on_the_published_loss() -> None:
    vectors = near([1.0, 0.0, 0.0])
    begin = torch.randn(3, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    optimizer = torch.optim.Adam([begin], lr=0.1)
    loss = KEY_WEIGHT * (1 - torch.cosine_similarity(vectors, begin[None], dim=-1)).sum()
    loss.backward()
    optimizer.step()
    assert torch.allclose(train_key(vectors, 1, 0.1), begin.detach(), atol=1e-6)


def test_a_key_is_trained_in_batches_that_cycle() -> None:
    vectors = near([1.0, 0.0, 0.0], count=100)
    found = train_key(vectors, 500, 0.02)
    assert float(torch.cosine_similarity(found, vectors.mean(0), dim=0)) > 0.99


def test_each_example_is_answered_by_the_expert_with_the_largest_sum_of_cosines() -> None:
    keys = [
        {"image": torch.tensor([2.0, 0.0]), "instruction": torch.tensor([3.0, 0.0])},
        {"image": torch.tensor([0.0, 5.0]), "instruction": torch.tensor([1.0, 1.0])},
    ]
    asked = queries([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    # sums of cosines: 2 and 0 + 0.71; 0 + 1 and 1 + 0.71; 1 + 0 and 0 + 0.71
    assert EProj().route(asked, keys, None) == [0, 1, 0]
    assert EProj(routing="oracle").route(asked, keys, 1) == [1, 1, 1]
    assert EProj(routing="oracle").route(asked, keys, None) == [0, 1, 0]


def test_examples_without_images_are_routed_by_their_instruction() -> None:
    shown, text = near([1.0, -1.0, 0.0]), torch.zeros(4, 1)
    assert train_key(text, 500, 0.02).tolist() == [0.0]
    keys = [
        {"image": train_key(shown, 500, 0.02), "instruction": torch.tensor([1.0, 0.0])},
        {"image": train_key(text, 500, 0.02), "instruction": torch.tensor([0.0, 1.0])},
    ]
    assert cosine(shown, keys[1]["image"]).tolist() == [0.0] * 40
    asked = Queries(torch.zeros(2, 1), torch.tensor([[0.9, 0.1], [0.1, 0.9]]))
    assert EProj().route(asked, keys, None) == [0, 1]
