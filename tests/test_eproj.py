from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from toy import PROMPTS, Toy, config, walked

from spaces import Adapter, Training
from strategies import Begin, EProj, Queries, Standing
from strategies.eproj import KEY_WEIGHT, cosine, key
from trainables.scores import RETRIEVAL
from trainables.stages import StageStore
from trainables.walk import Walk

LIVELY = {"name": "eproj", "learning_rate": 0.02, "key_steps": 500, "key_rate": 0.02}
ORDERING = ("light", "hue")


def queries(image: list[list[float]], instruction: list[list[float]]) -> Queries:
    return Queries(torch.tensor(image), torch.tensor(instruction))


def near(middle: list[float], count: int = 40, spread: float = 0.3) -> torch.Tensor:
    """Vectors of length 1 about a direction."""
    draw = torch.Generator().manual_seed(1)
    vectors = torch.tensor(middle) + spread * torch.randn(count, len(middle), generator=draw)
    return torch.nn.functional.normalize(vectors, dim=-1)


# What it decides ---------------------------------------------------------------------------------


def begun(similar: tuple[float, ...], **knobs) -> Begin:
    old = tuple((name,) for name in "abcd"[: len(similar)])
    signal = {"image": similar, "instruction": similar, "answer": similar}
    return EProj(signal="image", **knobs).begin(Standing(("new",), old, signal))


@pytest.mark.parametrize(
    ("threshold", "begin"),
    [
        (0.0, Begin("b")),
        (0.6, Begin("b")),
        (0.7, Begin(None, expert=True)),  # more than it, not as much as it
        (0.8, Begin(None, expert=True)),
        (1.0, Begin(None, expert=True)),
    ],
)
def test_the_most_similar_expert_is_used_again_above_the_threshold(
    threshold: float, begin: Begin
) -> None:
    assert begun((0.2, 0.7, 0.5), threshold=threshold) == begin


def test_threshold_0_never_expands_and_1_always_does_whatever_the_similarity() -> None:
    assert begun((-0.5, -0.9), threshold=0) == Begin("a")
    assert begun((0.0,), threshold=0) == Begin("a")
    assert begun((1.0,), threshold=1) == Begin(None, expert=True)


def test_a_new_expert_begins_as_the_models_own_or_the_most_similar_ones() -> None:
    assert begun((0.2, 0.7)) == Begin(None, expert=True)
    assert begun((0.2, 0.7), init="similar") == Begin("b", expert=True)
    for init in ("pretrained", "similar"):
        assert begun((), init=init) == Begin(None, expert=True)


def test_it_trains_the_projection_alone_with_a_rate_of_its_own_unless_told_otherwise() -> None:
    training, adapter = Training(learning_rate=2e-4), Adapter(parts="connector+lm_lora")
    own = EProj().shared(training, adapter)
    assert (own[0].learning_rate, own[1].parts) == (1e-3, "projection")
    assert EProj().shared(*own) == own
    assert EProj(learning_rate=0, expert="trained").shared(training, adapter) == (training, adapter)
    chosen = config("eproj")
    assert (chosen.training.learning_rate, chosen.adapter.parts) == (1e-3, "projection")


# Keys and retrieval ------------------------------------------------------------------------------


def test_a_key_is_near_the_mean_of_its_queries() -> None:
    defaults = EProj()
    vectors = near([0.0, -1.0, 1.0, 0.5])
    found = key(vectors, defaults.key_steps, defaults.key_rate)
    assert float(torch.cosine_similarity(found, vectors.mean(0), dim=0)) > 0.99
    assert not found.requires_grad
    assert torch.equal(key(vectors, 20, 0.1), key(vectors, 20, 0.1))


def test_a_step_of_the_key_is_adams_on_the_published_loss() -> None:
    vectors = near([1.0, 0.0, 0.0])
    begin = torch.randn(3, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    optimizer = torch.optim.Adam([begin], lr=0.1)
    loss = KEY_WEIGHT * (1 - torch.cosine_similarity(vectors, begin[None], dim=-1)).sum()
    loss.backward()
    optimizer.step()
    assert torch.allclose(key(vectors, 1, 0.1), begin.detach(), atol=1e-6)


def test_a_key_is_trained_in_batches_that_go_round() -> None:
    vectors = near([1.0, 0.0, 0.0], count=100)
    found = key(vectors, 500, 0.02)
    assert float(torch.cosine_similarity(found, vectors.mean(0), dim=0)) > 0.99


def test_each_example_is_answered_by_whom_it_is_nearest_to_in_sum() -> None:
    keys = [
        {"image": torch.tensor([2.0, 0.0]), "instruction": torch.tensor([3.0, 0.0])},
        {"image": torch.tensor([0.0, 5.0]), "instruction": torch.tensor([1.0, 1.0])},
    ]
    asked = queries([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    # sums of cosines: 2 and 0 + 0.71; 0 + 1 and 1 + 0.71; 1 + 0 and 0 + 0.71
    assert EProj().route(asked, keys, None) == [0, 1, 0]
    assert EProj(routing="oracle").route(asked, keys, 1) == [1, 1, 1]
    assert EProj(routing="oracle").route(asked, keys, None) == [0, 1, 0]


def test_examples_without_images_are_retrieved_by_what_they_ask() -> None:
    shown, text = near([1.0, -1.0, 0.0]), torch.zeros(4, 1)
    assert key(text, 500, 0.02).tolist() == [0.0]
    keys = [
        {"image": key(shown, 500, 0.02), "instruction": torch.tensor([1.0, 0.0])},
        {"image": key(text, 500, 0.02), "instruction": torch.tensor([0.0, 1.0])},
    ]
    assert cosine(shown, keys[1]["image"]).tolist() == [0.0] * 40
    asked = Queries(torch.zeros(2, 1), torch.tensor([[0.9, 0.1], [0.1, 0.9]]))
    assert EProj().route(asked, keys, None) == [0, 1]


# In the loop -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("eproj")


@pytest.fixture(scope="module")
def walk(toy: Toy, store: Path) -> Walk:
    return walked(toy.walk(config(LIVELY), store, ORDERING))


def test_all_but_the_projection_is_frozen_and_every_expert_begins_as_the_models_own(
    walk: Walk,
) -> None:
    records = [walk.store.get(stage["key"]) for stage in walk.stages]
    assert all(record["parent"] == walk.lineage.base for record in records)
    assert [record["stage"] for record in records] == [1, 1]
    for stage in walk.stages:
        weights = walk.store.tensors(stage["key"])
        assert weights
        assert all("multi_modal_projector" in name for name in weights)


def test_prompts_that_differ_are_retrieved_without_a_fault(walk: Walk) -> None:
    accuracy, oracle = (walk.matrices(name)[0].values for name in RETRIEVAL)
    scores = walk.matrices()[0].values
    assert accuracy[1, 0] == accuracy[2, 0] == accuracy[2, 1] == 1.0
    for row, column in ((1, 0), (2, 0), (2, 1)):
        assert oracle[row, column] == scores[row, column], (row, column)
    # What was learned is answered as it was, for its expert is apart.
    assert scores[2, 0] == scores[1, 0] > scores[0, 0]


def test_a_task_without_an_expert_has_no_retrieval(walk: Walk) -> None:
    for name in RETRIEVAL:
        (matrix,) = walk.matrices(name)
        assert [math.isnan(value) for value in matrix.values[0]] == [True, True]
        assert math.isnan(matrix.values[1, 1])
        assert not math.isnan(matrix.values[1, 0])


def test_the_keys_of_a_task_are_near_its_queries(walk: Walk) -> None:
    signer = walk.runner.worker.signer
    for path in walk.paths:
        ((task, found),) = walk.lineage.kept(path)
        keys, asked = walk.store.tensors(found), signer.queries(task, "train")
        for name in ("image", "instruction"):
            mean = getattr(asked, name).mean(0)
            assert float(torch.cosine_similarity(keys[name], mean, dim=0)) > 0.98


def test_what_experts_take_up_is_counted(walk: Walk) -> None:
    first, second = (walk.store.get(stage["key"]) for stage in walk.stages)
    kept = [walk.store.get(found) for path in walk.paths for _, found in walk.lineage.kept(path)]
    weights = [walk.store.tensors(stage["key"]) for stage in walk.stages]
    projection = sum(value.numel() for value in weights[0].values())
    assert first["parameters"] == second["parameters"] == projection
    widths = [32 + 32, 32 + 32]  # of the vision tower's and the text encoder's vectors
    assert [record["parameters"] for record in kept] == widths
    assert walk.metrics()["added_parameters"] == projection + sum(widths)
    # One expert is in the place of the model's own.
    stored = [record["blob"]["bytes"] for record in (second, *kept)]
    assert walk.metrics()["stored_bytes"] == sum(stored)


def test_a_fault_of_retrieval_is_counted_and_the_oracle_knows_better(
    toy: Toy, tmp_path: Path, walk: Walk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the examples are sent to the other expert."""
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


def test_the_oracle_is_a_control_that_trains_nothing_new(walk: Walk, toy: Toy, store: Path) -> None:
    oracle = walked(
        toy.walk(config({**LIVELY, "routing": "oracle"}), store, ORDERING, runner=walk.runner)
    )
    assert not any(stage["trained"] for stage in oracle.stages)
    assert oracle.matrices("oracle_score") == walk.matrices("oracle_score")
    assert oracle.matrices()[0].row(2) == walk.matrices("oracle_score")[0].row(2)
    assert oracle.matrices("retrieval_accuracy")[0].row(2) == {"light": 1.0, "hue": 1.0}


def test_thresholds_share_stages_of_three_tasks(walk: Walk, toy: Toy, store: Path) -> None:
    shared = StageStore(store)
    keys: set[str] = set()
    for threshold in (1.0, 0.9, 0.5, 0.1, 0.0):
        chosen = config({**LIVELY, "threshold": threshold, "key_steps": 5}, epochs=1)
        made = walked(toy.walk(chosen, store, tuple(PROMPTS), runner=walk.runner))
        keys |= {stage["key"] for stage in made.stages}
        for path in made.paths:
            record = shared.get(made.key(path))
            assert record["parent"] == made.key(made.lineage.source(path))
    assert len(keys) < 5 * 3
    trained = [record for key in keys if (record := shared.get(key))]
    assert len(trained) == len(keys)
