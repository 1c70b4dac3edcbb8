"""The contract that every strategy is under; what only one of them does is in a file of its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lively import NAMES, lively, switched_off
from toy import Toy, blobs, config, walked

from spaces import knobs_of
from strategies import STRATEGIES, Queries, StageContext, Strategy, strategy_class
from strategies.similarity import MODALITIES
from trainables.lanes.in_process import InProcessRunner
from trainables.store.stage_store import StageStore
from trainables.trial import PanelTrial

EVERY = pytest.mark.parametrize("name", NAMES)
ORDERINGS = (("hue", "light"), ("light", "hue"))


@pytest.fixture(scope="module")
def walks(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> dict[str, PanelTrial]:
    """Every strategy through two stages in two orders, each in a store of its own."""
    return {
        name: walked(toy.walk(lively(name), tmp_path_factory.mktemp(name), *ORDERINGS))
        for name in NAMES
    }


@pytest.fixture(scope="module")
def served(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], InProcessRunner]:
    """A worker that has served ZeRO 2 and 3, and all strategies before, with the stages in a store."""
    root = tmp_path_factory.mktemp("served")
    runner = InProcessRunner(toy.worker_spec(root))
    for zero in (2, 3):
        walked(toy.walk(lively("ewc", epochs=1, zero=zero), root, runner=runner))

    def at(store: Path) -> InProcessRunner:
        runner.worker.context.spec = replace(runner.worker.context.spec, store=store)
        runner.worker.context.store = StageStore(store)
        return runner

    return at


def made(walk: PanelTrial, *kinds: str) -> dict[str, str]:
    """The SHA-256 of all tensors in a walk's store, by key; of some kinds of record only."""
    keys = [path.stem for path in (walk.store.root / "records").rglob("*.json")]
    records = {key: walk.store.get(key) or {} for key in keys}
    return {
        key: record["blob"]["sha256"]
        for key, record in records.items()
        if "blob" in record and (not kinds or record["kind"] in kinds)
    }


@EVERY
def test_it_trains_toy_stages_with_finite_weights_that_move(
    name: str, walks: dict[str, PanelTrial]
) -> None:
    walk = walks[name]
    # Experts that know nothing of each other are the same in both orders.
    apart = 2 if name == "eproj" else len(walk.paths)
    assert len(set(blobs(walk))) == len({stage.key for stage in walk.stages}) == apart
    for stage in walk.stages:
        assert all(w.isfinite().all() for w in walk.store.tensors(stage.key).values())
        record = walk.store.get(stage.key)
        assert record["last_loss"] < record["first_loss"]
    learned = walk.paths[:1] if name != "replay+eproj" else walk.paths
    assert max(s for p in learned for s in walk.scores[p].values()) > max(walk.scores[()].values())


def test_every_strategy_makes_something_else_of_the_second_stage(
    walks: dict[str, PanelTrial],
) -> None:
    seconds = [blobs(walks[name])[1:2] for name in NAMES if len(walks[name].paths) > 1]
    assert len({tuple(second) for second in seconds}) == len(seconds)


def test_strategies_with_the_same_shared_knobs_make_the_same_of_the_first_stage(
    walks: dict[str, PanelTrial],
) -> None:
    firsts: dict[Any, set[str]] = {}
    for walk in walks.values():
        if len(walk.paths) > 1:
            shared = (walk.config.training, walk.config.adapter)
            firsts.setdefault(shared, set()).add(blobs(walk)[0])
    assert len(firsts) == 2  # the projection alone is another adapter
    assert all(len(first) == 1 for first in firsts.values())


@EVERY
def test_a_worker_that_served_others_before_makes_the_same_to_the_last_bit(
    name: str,
    walks: dict[str, PanelTrial],
    toy: Toy,
    tmp_path: Path,
    served: Callable[[Path], InProcessRunner],
) -> None:
    again = walked(toy.walk(lively(name), tmp_path, ORDERINGS[1], runner=served(tmp_path)))
    assert all(stage.trained for stage in again.stages)
    assert again.matrices() == walks[name].matrices()[1:]
    assert made(again, "trained").keys() == {stage.key for stage in again.stages}
    assert made(again).items() <= made(walks[name]).items()


@EVERY
def test_stopped_after_the_first_stage_another_worker_goes_on_to_the_same_end(
    name: str, walks: dict[str, PanelTrial], toy: Toy, tmp_path: Path
) -> None:
    toy.walk(lively(name), tmp_path, ORDERINGS[0]).step()
    torch.manual_seed(1234)  # a stage depends on nothing that was drawn before
    resumed = walked(toy.walk(lively(name), tmp_path, ORDERINGS[0]))
    assert [stage.trained for stage in resumed.stages] == [False, True][: len(resumed.paths)]
    assert resumed.matrices() == walks[name].matrices()[:1]
    assert blobs(resumed) == blobs(walks[name])[: len(resumed.paths)]
    assert made(resumed).items() <= made(walks[name]).items()


@pytest.fixture(scope="module")
def brief(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> PanelTrial:
    """Finetune in a few steps."""
    return walked(toy.walk(config(epochs=1), tmp_path_factory.mktemp("brief")))


@pytest.mark.parametrize("name", [name for name in NAMES if knobs_of(strategy_class(name))])
def test_switched_off_it_is_finetune_to_the_last_bit(
    name: str,
    brief: PanelTrial,
    toy: Toy,
    tmp_path: Path,
    served: Callable[[Path], InProcessRunner],
) -> None:
    """Trained with all hooks in place, and not taken from finetune's store."""
    for number, chosen in enumerate(switched_off(name)):
        store = tmp_path / str(number)
        walk = walked(toy.walk(chosen, store, runner=served(store)))
        assert all(stage.trained for stage in walk.stages)
        assert blobs(walk) == blobs(brief), chosen.strategy
        assert [stage.key for stage in walk.stages] == [s.key for s in brief.stages]
        assert walk.matrices() == brief.matrices()


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for all, so that each trains but what it does not share."""
    return tmp_path_factory.mktemp("halves")


@EVERY
def test_in_half_precision_with_zero_2_its_weights_are_finite_too(
    name: str, toy: Toy, halves: Path, served: Callable[[Path], InProcessRunner]
) -> None:
    chosen = lively(name, epochs=1, precision="bf16", zero=2)
    walk = walked(toy.walk(chosen, halves, runner=served(halves)))
    for stage in walk.stages:
        weights = walk.store.tensors(stage.key)
        assert all(w.isfinite().all() and w.dtype == torch.float32 for w in weights.values())
        assert math.isfinite(walk.store.get(stage.key)["last_loss"])
    for path in walk.paths[:-1]:
        for _, key in walk.lineage.kept(path):
            assert all(value.isfinite().all() for value in walk.store.tensors(key).values())


@EVERY
def test_what_it_keeps_of_a_stage_survives_the_store(
    name: str, walks: dict[str, PanelTrial]
) -> None:
    walk, strategy = walks[name], walks[name].config.strategy
    # Those that are answered by are kept of the last stage too.
    remembered = walk.paths if strategy.has_experts else [path for path in walk.inner if path]
    expected = {key for path in remembered for _, key in walk.lineage.kept(path)}
    assert set(made(walk, "kept")) == expected
    assert bool(expected) is (strategy.consolidation_knobs() is not None and len(walk.paths) > 1)
    reopened = StageStore(walk.store.root)
    for key in expected:
        kept = reopened.tensors(key)
        assert kept
        assert all(value.isfinite().all() for value in kept.values())
        start = reopened.tensors(walk.key((("hue",),)))
        similar = dict.fromkeys(MODALITIES, (0.5,))
        context = StageContext(("light",), (("hue",),), similar)
        fresh = walk.config.fresh_strategy()
        fresh.prepare(start, [kept], context)
        if strategy.has_experts:
            queries = Queries(torch.randn(3, 32), torch.randn(3, 32))
            assert fresh.route(queries, [kept], None) == [0, 0, 0]


# A strategy of a test's own ----------------------------------------------------------------------


@dataclass
class Idle(Strategy):
    """Leaves every hook alone."""

    name = "idle"


def test_a_strategy_that_leaves_the_hooks_alone_is_finetune(
    walks: dict[str, PanelTrial], toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(STRATEGIES, "idle", Idle)
    idle = walked(toy.walk(config("idle"), tmp_path, *ORDERINGS))
    assert blobs(idle) == blobs(walks["finetune"])
    assert idle.matrices() == walks["finetune"].matrices()
    assert [s.key for s in idle.stages] == [s.key for s in walks["finetune"].stages]
