"""Several DeepSpeed ranks, and a batch in several parts, make what one rank makes of the whole batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lively import lively
from ranks import launch
from toy import Toy, adapted, blobs, config, walked

from spaces import InputError
from strategies import STRATEGIES, strategy_class
from trainables.config import TrialConfig
from trainables.panel import Panel
from trainables.store.stage_store import StageStore
from trainables.trial import PanelTrial

ORDERING = ("hue", "light")
LONG = {"finetune": {"name": "finetune"}, "ewc": {"name": "ewc", "strength": 1e3}}
"""Trained until they answer some of the examples rightly."""
BRIEF = (*(name for name in STRATEGIES if name not in LONG), "replay+ewc")
"""A few steps of each."""
NAMES = (*LONG, *BRIEF)
ZERO = (0, 2, 3)
CASES = [(name, zero) for zero in ZERO for name in NAMES]
ODD = {"name": "ewc", "importance_batch": 1, "importance_examples": 3}
"""Fewer examples than the two ranks can share out."""
REST_CASES = [("replay", 0, 10), ("a_gem", 2, 22), ("lwf", 3, 10), ("ewc", 3, 10)]
"""ZeRO stages, and batch sizes that leave 4 or 2 of 24 examples to two ranks' 5 or 11 passes."""
TOLERANCE = 1e-4
"""Relative tolerance: sums have another order, and AdamW divides by numbers that may be small."""


def job(name: str, zero: int, micro_batch: int, **training) -> TrialConfig:
    """Return a case with adapters on few layers: ZeRO-3 is slow with each."""
    knobs = {"zero": zero, "micro_batch": micro_batch, **training}
    brief = name in BRIEF
    chosen = lively(name, epochs=1, **knobs) if brief else config(LONG.get(name, ODD), **knobs)
    return adapted(chosen, targets="qv")


def rest(name: str, zero: int, size: int, micro_batch: int) -> TrialConfig:
    """Return a case whose last batches are not full."""
    return adapted(
        lively(name, epochs=2, zero=zero, batch_size=size, micro_batch=micro_batch), targets="qv"
    )


@pytest.fixture(scope="module")
def two_ranks(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train all cases on two ranks, in one pair of processes; return the folder of the stores."""
    root = tmp_path_factory.mktemp("ranks")
    cases = [(zero, job(name, zero, 4)) for name, zero in CASES]
    cases += [(zero, job("ewc", zero, 2)) for zero in ZERO]
    cases += [(2, job("odd", 2, 4))]
    cases += [(zero, rest(name, zero, size, 1)) for name, zero, size in REST_CASES]
    walks = [
        {
            **{"model": str(toy.model), "store": str(root / str(zero))},
            **{"config": chosen.to_dict(), "orderings": [ORDERING]},
        }
        for zero, chosen in cases
    ]
    launch(root, toy.benchmark, walks)
    return root


@pytest.fixture(scope="module")
def one_rank(
    toy: Toy, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, int], PanelTrial]:
    """Return a function that trains a case in this process at its first call."""
    root, made = tmp_path_factory.mktemp("one"), {}

    def walk(name: str, zero: int) -> PanelTrial:
        if (name, zero) not in made:
            made[name, zero] = walked(toy.walk(job(name, zero, 8), root, ORDERING))
        return made[name, zero]

    return walk


def read_back(toy: Toy, store: Path, chosen) -> PanelTrial:
    """Read back what two ranks trained, without a runner, for nothing may be missing."""
    panel, fingerprints = Panel((ORDERING,)), toy.fingerprints(workers=2)
    return walked(PanelTrial(chosen, panel, fingerprints, StageStore(store), None))


def assert_alike(one: PanelTrial, other: PanelTrial) -> None:
    """Assert that losses, weights and scores are equal within the tolerance."""
    for path in one.paths:
        ours, theirs = (walk.store.get(walk.key(path)) for walk in (one, other))
        assert ours.steps == theirs.steps
        for loss in ("first_loss", "last_loss"):
            assert getattr(theirs, loss) == pytest.approx(getattr(ours, loss), rel=TOLERANCE)
        weights, others = (walk.store.tensors(walk.key(path)) for walk in (one, other))
        assert weights.keys() == others.keys()
        for name, weight in weights.items():
            assert float((weight - others[name]).norm()) <= TOLERANCE * float(weight.norm()), name
    for ours, theirs in zip(one.matrices(), other.matrices(), strict=True):
        assert theirs.values == pytest.approx(ours.values, abs=TOLERANCE, nan_ok=True)


@pytest.mark.parametrize(("name", "zero"), CASES)
def test_two_ranks_train_the_same_stages_as_one(
    name: str, zero: int, toy: Toy, two_ranks: Path, one_rank
) -> None:
    two = read_back(toy, two_ranks / str(zero), job(name, zero, 4))
    assert_alike(one_rank(name, zero), two)
    if name in LONG:
        assert two.matrices()[0].final_average() > 0


@pytest.mark.parametrize("name", NAMES)
def test_every_zero_stage_trains_the_same(name: str, one_rank) -> None:
    for zero in (2, 3):
        assert_alike(one_rank(name, 0), one_rank(name, zero))


@pytest.mark.parametrize("zero", ZERO)
def test_two_ranks_train_the_same_with_micro_batches(
    zero: int, toy: Toy, two_ranks: Path, one_rank
) -> None:
    parts = read_back(toy, two_ranks / str(zero), job("ewc", zero, 2))
    assert_alike(one_rank("ewc", zero), parts)


KEEPING = [n for n in NAMES if strategy_class(n)().consolidation_knobs() is not None]


@pytest.mark.parametrize("name", KEEPING)
def test_consolidated_tensors_are_the_same_too(
    name: str, toy: Toy, two_ranks: Path, one_rank
) -> None:
    one, two = one_rank(name, 0), read_back(toy, two_ranks / "3", job(name, 3, 4))
    kept = [walk.store.tensors(walk.job(walk.paths[1]).kept_before[0]) for walk in (one, two)]
    assert kept[0].keys() == kept[1].keys()
    for name, value in kept[0].items():
        # Logits are kept in fp16, importances are far below 1.
        loose = 1e-2 if value.dtype == torch.float16 else 1e-6
        assert torch.allclose(value, kept[1][name], rtol=1e-2, atol=loose), name


@pytest.mark.parametrize(("name", "zero", "size"), REST_CASES)
def test_two_ranks_train_the_rest_of_an_epoch_as_one_in_a_single_pass(
    name: str, zero: int, size: int, toy: Toy, two_ranks: Path, tmp_path: Path
) -> None:
    one = walked(toy.walk(rest(name, 0, size, size), tmp_path, ORDERING))
    assert one.store.get(one.key(one.paths[0])).steps == 2 * -(-24 // size)
    assert_alike(one, read_back(toy, two_ranks / str(zero), rest(name, zero, size, 1)))


def test_fewer_examples_than_ranks_are_shared_out_too(toy: Toy, two_ranks: Path) -> None:
    walk = read_back(toy, two_ranks / "2", job("odd", 2, 4))
    kept = walk.store.tensors(walk.job(walk.paths[1]).kept_before[0])
    assert sum(float(value.sum()) for value in kept.values()) == pytest.approx(1.0, rel=1e-4)


@pytest.mark.parametrize("zero", [0, 2, 3])
@pytest.mark.parametrize("micro_batch", [1, 4])
def test_micro_batches_train_the_same_as_whole_batches(
    zero: int, micro_batch: int, toy: Toy, tmp_path: Path, one_rank
) -> None:
    parts = walked(toy.walk(job("ewc", zero, micro_batch), tmp_path, ORDERING))
    assert_alike(one_rank("ewc", zero), parts)


def test_a_batch_that_micro_batches_do_not_divide_is_an_input_error(
    toy: Toy, tmp_path: Path
) -> None:
    walk = toy.walk(config(micro_batch=3), tmp_path)
    with pytest.raises(InputError, match="batch_size must be a multiple of micro_batch x workers"):
        walk.step()


def test_dropout_is_drawn_anew_for_consolidation(toy: Toy, tmp_path: Path) -> None:
    """It is the same for a stage trained just now and for one from the store."""
    dropping = adapted(config("ewc", epochs=1), dropout=0.3)
    whole = walked(toy.walk(dropping, tmp_path / "whole"))
    plain = replace(dropping, strategy=config("finetune").strategy)
    runner = walked(toy.walk(plain, tmp_path / "shared")).runner
    shared = walked(toy.walk(dropping, tmp_path / "shared", runner=runner))
    assert [stage.trained for stage in shared.stages] == [False, True]
    assert blobs(shared) == blobs(whole)


@pytest.mark.parametrize(("zero", "offload"), [(2, "optimizer"), (3, "optimizer"), (3, "all")])
def test_offloading_trains_the_same(
    zero: int, offload: str, toy: Toy, tmp_path: Path, one_rank
) -> None:
    chosen = job("ewc", zero, 8, offload=offload)
    assert_alike(one_rank("ewc", 0), walked(toy.walk(chosen, tmp_path, ORDERING)))


@pytest.mark.parametrize("zero", [0, 2, 3])
def test_gradient_checkpointing_trains_the_same(
    zero: int, toy: Toy, tmp_path: Path, one_rank
) -> None:
    chosen = job("ewc", zero, 8, checkpointing=True)
    assert_alike(one_rank("ewc", 0), walked(toy.walk(chosen, tmp_path, ORDERING)))
